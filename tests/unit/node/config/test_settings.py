import pytest

from node.config import settings
from node.config.settings import Config, PeerSettings
from node.system.errors import OperatorError

WHOLE = Config(
    cluster="c" * 64, founder="f" * 64, name='a "b"', peers=[PeerSettings("a" * 64, "h:1")]
)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "config.toml"
    settings.write(path, WHOLE)
    assert settings.load(path) == WHOLE


def test_a_write_that_is_cut_short_leaves_no_config(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    monkeypatch.setattr("node.system.atomic_file.os.fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        settings.write(path, WHOLE)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "not TOML"),
        ("cluster = 'c'\nfounder = 'f'\nlinsk = 8\n", "line 3.*did you mean links"),
        ("cluster = 'c'\nfounder = 'f'\nzzz = 8\n", "line 3.*the options are"),
        ("cluster = 'c'\nfounder = 'f'\nlinks = 'x'\n", "line 3"),
        ("cluster = 'c'\nfounder = 'f'\nlinks = 0\n", "line 3"),
        ("cluster = 'c'\nfounder = 'f'\nlog_format = 'xml'\n", "line 3.*xml.*use text or json"),
        ("founder = 'f'\n", "cluster"),
        (f"cluster = '{'a' * 63}'\nfounder = '{'b' * 64}'\n", "line 1: cluster: not 64"),
        (f"cluster = '{'a' * 64}'\nfounder = '{'B' * 64}'\n", "line 2: founder: not 64"),
        (
            f"cluster='{'a' * 64}'\nfounder='{'b' * 64}'\npeers=[{{node='a', address='a:1'}}]",
            ": node: not 64",
        ),
        ('cluster = "c"\nfounder = "f"\nlisten = "a:74912222"\n', "line 3: listen: .*to 65535"),
        ("cluster = 'c'\nfounder = 'f'\nlisten = 'a'\n", "line 3: listen: .*host:port"),
        ('cluster = "c"\nfounder = "f"\nadvertise = [\n"a:1",\n"b:0"]\n', "line 5: advertise"),
        (
            (
                'cluster = "c"\nfounder = "f"\n[[peers]]\nnode = "a"\naddress = "a:1"\n'
                '[[peers]]\nnode = "b"\naddress = "b:x"\n'
            ),
            "line 8: peers",
        ),
        (
            "cluster = 'c'\nfounder = 'f'\n"
            + 2 * "[[rate_limits]]\nresume_after = 1\n"
            # The second of the two.
            + "pattern = '(('\n",
            "line 5: pattern is not a regular expression",
        ),
    ],
)
def test_an_error_names_the_line_and_the_way_out(tmp_path, text, told):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(OperatorError, match=told):
        settings.load(path)


def test_no_config_says_how_to_make_one(tmp_path):
    with pytest.raises(
        OperatorError, match=r"no node at .*gangline init, or join one .*gangline join"
    ):
        settings.load(tmp_path / "config.toml")


LACKING = ["", "name = 'den'\n", "cluster = [", "\udcff"]


@pytest.mark.parametrize("text", LACKING)
def test_a_broken_config_names_the_repair_command(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OperatorError, match=r"cluster is missing$|not TOML: ") as told:
        settings.load(path)
    assert "--repair" not in told.value.message, "there is nothing to write it from"
    for name in ("node.key", "store.db"):
        (tmp_path / name).touch()
    with pytest.raises(
        OperatorError, match=r"; fix it, or rebuild it .*with: gangline init --repair$"
    ):
        settings.load(path)
