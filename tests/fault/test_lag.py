from tests.support.soak import lag


def test_the_lag_is_reported_beside_a_bare_loop_s(tmp_path):
    report = lag.measure(tmp_path, 0.3)
    assert report.records_a_second
    assert "of a bare loop" in str(report)
