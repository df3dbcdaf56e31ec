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


def test_a_benchmark_is_asked_in_its_own_words_where_it_prescribes_them():
    own = "Which animal is it? Select from the following choices.\n(A) cat\n(B) dog"
    sample = _sample(choices=("cat", "dog"), prompt=own)
    asked = ask(sample, "own")
    assert asked.text == own
    assert asked.reply(sample, "dog") == "(B)"
    assert ask(sample).replies == ("A", "B")
    assert ask(_sample(), "own") == ask(_sample())


def test_words_that_an_ocr_system_read_are_added_where_they_are_wanted():
    sample = _sample(texts=("NOKIA", "3310"))
    asked = ask(sample, texts=True).text.splitlines()
    assert asked[:2] == ["Which animal is it?", "Reference OCR token: NOKIA, 3310"]
    assert asked[2:] == ask(sample).text.splitlines()[1:]


def test_the_plain_form_names_choices_without_letters():
    sample = _sample(choices=("cat", "dog"), hint="A farm.")
    asked = ask(sample, "plain")
    assert asked.text.splitlines()[0] == "A farm."
    assert asked.text.endswith("Answer with one of: cat, dog.")
    assert asked.reply(sample, "dog") == "dog"
