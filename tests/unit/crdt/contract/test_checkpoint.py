from crdt.contract.checkpoint import in_steps, pass_on


def test_there_is_a_checkpoint_before_each_item():
    seen = []
    seen.extend(in_steps("ab", lambda: seen.append("checkpoint")))
    assert seen == ["checkpoint", "a", "checkpoint", "b"]


def test_pass_on_continues_at_once():
    assert [*in_steps(range(3), pass_on)] == [0, 1, 2]
