"""Several sessions at once: nobody overtakes, and nothing is computed twice."""

import threading
import time

import pytest
import streamlit as st

from r2t2.rerouting.settings import strategy
from r2t2.ui import engine
from r2t2.ui.engine import Picked, Queue


def wait_until(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_turns_are_given_in_the_order_of_asking():
    queue, served = Queue(), []

    def session(number: int):
        with queue.turn():
            served.append(number)

    with queue.turn():
        threads = [threading.Thread(target=session, args=(i,)) for i in range(20)]
        for asked, thread in enumerate(threads, 2):
            thread.start()
            wait_until(lambda asked=asked: queue.asked == asked)
    for thread in threads:
        thread.join()
    assert served == list(range(20))


def test_five_sessions_are_served_in_rounds():
    queue, served, ready = Queue(), [], threading.Barrier(5)

    def session(number: int):
        ready.wait()
        for _ in range(5):
            with queue.turn():
                served.append(number)
                # Whoever is waiting has asked for the next turn before this one's end.
                wait_until(lambda: queue.asked >= min(len(served) + 4, 25))

    threads = [threading.Thread(target=session, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rounds = [served[i : i + 5] for i in range(0, 25, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds)


def test_a_turn_that_fails_lets_the_next_one_in():
    queue = Queue()
    with pytest.raises(ValueError, match="no"), queue.turn():
        raise ValueError("no")
    with queue.turn():
        pass


def test_what_two_sessions_ask_for_is_computed_once(small_cache, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(small_cache))
    st.cache_resource.clear()
    ask, setting = Picked("reading", 7, 9), strategy("ngd", "paper")
    opened = engine.engine("mini-7", None)
    runs = []
    run = opened.run
    monkeypatch.setattr(opened, "run", lambda *a: runs.append(a) or run(*a))
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(engine.trajectory("mini-7", None, ask, setting))
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 5
    assert len(runs) == 1


def test_a_control_that_is_being_fitted_keeps_nobody_waiting(small_cache, monkeypatch):
    monkeypatch.setenv("R2T2_CACHE", str(small_cache))
    st.cache_resource.clear()
    ask, opened = Picked("reading", 7, 8), engine.engine("mini-7", None)
    begun, other_is_done = threading.Event(), threading.Event()
    fit = opened.fit

    def slow(setting):
        if setting.algorithm == "constant":
            begun.set()
            assert other_is_done.wait(60)
            monkeypatch.setattr("r2t2.controls.STEPS", 2)
        return fit(setting)

    monkeypatch.setattr(opened, "fit", slow)
    fitting = threading.Thread(
        target=engine.trajectory, args=("mini-7", None, ask, strategy("constant", "paper"))
    )
    fitting.start()
    assert begun.wait(60)
    engine.trajectory("mini-7", None, ask, strategy("ngd", "paper"))
    other_is_done.set()
    fitting.join()
