import runpy

from machines import diagram


def test_the_command_prints_the_page(capsys):
    runpy.run_module("machines", run_name="__main__")
    assert capsys.readouterr().out == diagram.page()
