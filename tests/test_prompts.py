"""Questions in words."""

from r2t2.prompts import ask
from r2t2.samples import Sample


def _sample(**fields):
    return Sample("x", "Which animal is it?", lambda: None, **fields)


def test_choices_stand_under_letters_and_are_replied_to_by_them():
    sample = _sample(choices=("cat", "dog"))
    asked = ask(sample)
    assert asked.text.splitlines()[1:3] == ["A. cat", "B. dog"]
    assert asked.replies == ("A", "B")
    assert asked.reply(sample, "dog") == "B"


def test_an_open_question_is_replied_to_in_words():
    sample = _sample(hint="A photo from a farm.")
    asked = ask(sample)
    assert asked.text.startswith("A photo from a farm.\nWhich animal is it?\n")
    assert asked.reply(sample, "cat") == "cat"
