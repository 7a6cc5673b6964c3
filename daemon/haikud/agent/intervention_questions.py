"""The question that an intervention asks: what was seen, the facts, what can be done about it. Pure."""

from __future__ import annotations

from haikud.contracts.attempt import Question, Spec
from haikud.contracts.intervention import Intervention, Trigger

_BLOCKERS = {
    Trigger.SILENCE: "Agent is silent",
    Trigger.TESTS_FAILING: "Tests keep failing",
    Trigger.SAME_OPERATION: "Agent is stuck on the same operation",
    Trigger.REPEATED_ERROR: "Agent meets the same error again and again",
    Trigger.UNDECLARED_FILES: "Agent changes files that the task does not declare",
}

_RECOMMENDATIONS = {
    Trigger.SILENCE: "Retry fresh: what hangs once may not hang again. Where it does, look at what it was waiting for.",
    Trigger.TESTS_FAILING: "Continue with guidance that names the cause; reassign to Sonnet where that needs thought.",
    Trigger.SAME_OPERATION: "Continue with guidance: simplify the steps, and say which one to take next.",
    Trigger.REPEATED_ERROR: "Continue with guidance that says what the error means and how to get around it.",
    Trigger.UNDECLARED_FILES: "Continue: say whether these changes are wanted, or to be taken back.",
}


def question_about(found: Intervention, spec: Spec, facts: list[str]) -> Question:
    """The question. `facts` were gathered where the attempt ran."""
    return Question(
        reason=f"A monitor paused the agent: {found.message}",
        blocker=_BLOCKERS[found.trigger],
        error_details=found.evidence[-1] if found.trigger in {Trigger.REPEATED_ERROR, Trigger.TESTS_FAILING} else "",
        context=[*found.evidence, *facts],
        options=_options(found, spec),
        recommendation=_RECOMMENDATIONS[found.trigger],
    )


def _options(found: Intervention, spec: Spec) -> list[str]:
    """What can be answered; the words of `action` are for guidance/REF.json."""
    built_in, answer = spec.role.command is None, f"haikud answer {spec.ref}"
    keeps = "its conversation, " if built_in else ""
    again = "goes on from there" if built_in else "is run again there"
    options = [f'Continue with guidance ({answer} "TEXT"): {keeps}worktree and budget stay, it {again}']
    if found.trigger is Trigger.UNDECLARED_FILES:
        options[0] += "; these files are not asked about again"
    if built_in and "sonnet" not in spec.role.model:
        options.append(f'Reassign to Sonnet ({answer} --model sonnet "TEXT"; action reassign, model sonnet)')
    else:
        options.append(f'Reassign to another role ({answer} --role ROLE "TEXT"; action reassign, role ROLE)')
    options.append(f'Retry fresh, in the same worktree ({answer} --retry "TEXT"; action retry)')
    kept = f", and take what is on {spec.workspace.branch}" if spec.workspace else ""
    options.append(f"Cancel (haikud cancel {spec.ref}; action cancel){kept}")
    return options
