"""no_grad and enable_grad, in each thread and task for itself."""

import asyncio
import threading

import pytest

import tinygrad_attn as ta


def leaf(value=1.0):
    return ta.tensor(value, requires_grad=True)


def test_nothing_is_recorded_under_no_grad():
    x = leaf()
    with ta.no_grad():
        assert not ta.is_grad_enabled()
        assert not (x * 2).requires_grad
        with ta.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert ta.is_grad_enabled() and (x * 2).requires_grad


def test_as_decorators():
    @ta.no_grad()
    def twice(x):
        return x * 2

    assert not twice(leaf()).requires_grad
    assert not twice(leaf()).requires_grad  # a second time too


def test_above_a_generator_it_holds_inside_only():
    @ta.no_grad()
    def halves(x):
        while True:
            asked = yield x.requires_grad and (x * 2).requires_grad
            if asked:
                return asked

    items = halves(leaf())
    assert next(items) is False
    assert (leaf() * 2).requires_grad
    assert next(items) is False
    with pytest.raises(StopIteration, match="enough"):
        items.send("enough")
    assert ta.is_grad_enabled()


def test_a_generator_may_be_closed_by_another_thread():
    def inside():
        with ta.no_grad():
            yield ta.is_grad_enabled()

    items, failures = inside(), []

    def close():
        try:
            items.close()
        except ValueError as error:
            failures.append(error)

    def begin():
        assert next(items) is False

    for job in (begin, close):
        thread = threading.Thread(target=job)
        thread.start()
        thread.join()
    assert failures == []


def test_an_error_inside_leaves_the_mode_as_it_was():
    with pytest.raises(ZeroDivisionError), ta.no_grad():
        _ = 1 / 0
    assert ta.is_grad_enabled()


def test_each_thread_has_its_own():
    seen, inside, go = [], threading.Event(), threading.Event()

    def other():
        seen.append(ta.is_grad_enabled())
        with ta.no_grad():
            inside.set()
            go.wait(5)

    with ta.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(5)
    assert seen == [True] and ta.is_grad_enabled()  # while the other thread is inside its own
    go.set()
    thread.join()


def test_each_task_has_its_own():
    async def quiet(inside, go):
        with ta.no_grad():
            inside.set()
            await go.wait()

    async def both():
        inside, go = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(quiet(inside, go))
        await inside.wait()
        enabled = ta.is_grad_enabled()
        go.set()
        await task
        return enabled

    assert asyncio.run(both())


def test_threads_walk_back_side_by_side():
    x = leaf(3.0)
    results = []

    def work(power):
        for _ in range(20):
            results.append((power, ta.grad(x**power, x).item()))

    threads = [threading.Thread(target=work, args=(p,)) for p in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(results)) == [(1, 1.0), (2, 6.0), (3, 27.0)] and len(results) == 60
