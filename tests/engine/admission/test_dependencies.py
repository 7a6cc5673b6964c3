"""Dependencies between the tasks of a plan."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from haikud.engine.admission.dependencies import check_dependencies, find_cycle
from haikud.engine.admission.fields import Notes, Stated


def checked(**dependencies: list[str]) -> Notes:
    notes = Notes()
    stated = {t: [Stated(d, f"/{t}/{n}") for n, d in enumerate(ds)] for t, ds in dependencies.items()}
    check_dependencies(stated, notes)
    return notes


def test_a_diamond_is_fine():
    assert checked(a=[], b=["a"], c=["a"], d=["b", "c"]).faults == []


def test_unknown_self_and_cyclic_dependencies_are_all_named():
    faults = checked(aa=["ab"], b=["b"], c=["e"], d=["c"], e=["d"]).faults
    by_code = {fault.code: fault for fault in faults}
    assert set(by_code) == {"UNKNOWN_DEPENDENCY", "SELF_DEPENDENCY", "CYCLE"}
    assert by_code["UNKNOWN_DEPENDENCY"].field == "/aa/0"
    assert "'ab'" in by_code["UNKNOWN_DEPENDENCY"].found
    assert by_code["SELF_DEPENDENCY"].field == "/b/0"
    assert "c -> e -> d -> c" in by_code["CYCLE"].found


def test_a_chain_of_thousands_needs_no_recursion():
    chain = {str(n): [str(n + 1)] for n in range(20_000)} | {"20000": []}
    began = time.perf_counter()
    assert find_cycle(chain) is None
    assert len(find_cycle(chain | {"20000": ["0"]}) or []) == 20_002
    assert time.perf_counter() - began < 5


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=4)))
def test_a_cycle_is_found_exactly_where_there_is_one(graph: dict[str, list[str]]):
    whole = {node: graph.get(node, []) for node in "abcdef"}
    cycle = find_cycle(whole)
    left = dict(whole)  # Kahn: take away what depends on nothing that is left
    while free := [node for node, needs in left.items() if not set(needs) & set(left)]:
        for node in free:
            del left[node]
    assert (cycle is not None) == bool(left)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(after in whole[before] for before, after in pairwise(cycle))
