import pytest

from node.addresses import told
from tests.support.desk import api


@pytest.mark.parametrize("nowhere", ["0.0.0.0:7467", "[::]:7467", ":7467", ""])
def test_what_names_no_host_is_told_to_nobody(nowhere):
    assert told([], nowhere) == ()
    assert told(["den.example:1"], nowhere) == ("den.example:1",)


def test_where_it_listens_is_told_unless_the_config_says_better():
    assert told([], "192.0.2.1:7467") == ("192.0.2.1:7467",)
    assert told(["a:1", "b:2"], "192.0.2.1:7467") == ("a:1", "b:2")


async def test_a_ticket_to_nowhere_is_refused_with_the_way_out(tmp_path):
    async with api(tmp_path, listen="0.0.0.0:7467") as (client, _):
        answer = await client.post("/invite", json={})
        assert answer.status_code == 409
        assert "set advertise" in answer.json()["detail"]
    async with api(tmp_path / "silent", listen="") as (client, _):
        assert "does not listen" in (await client.post("/invite", json={})).json()["detail"]
