"""Many items through few hands: read ahead by a thread, run in batches of equal kind, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Result], ahead: int
) -> Generator[Result, None, None]:
    """Maps items in another thread, some of them before they are asked for.

    Closing the iterator ends the thread.

    Args:
        items: Drawn by the caller's thread.
        read: Called in the other thread, one item after the other.
        ahead: Most results that wait to be taken.

    Yields:
        Results in the order of the items. An error, of an item or of what gives them, comes in its
        place: after the results before it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="reader")
    pending: deque[Future[Result]] = deque()
    failure: Exception | None = None
    source = iter(items)
    try:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            pending.append(pool.submit(read, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)


def run_in_batches(
    items: Iterable[Item],
    run: Callable[[list[Item]], Sequence[Result]],
    *,
    kind: Callable[[Item], Hashable],
    batch_size: int,
    look_ahead: int,
) -> Iterator[Result]:
    """Runs items of one kind together, and gives results in the order of the items.

    A batch runs when it is full, or when the item whose result comes next has to wait for it and
    no more items may be drawn. Which items share a batch depends on nothing but their kinds and
    their order.

    Args:
        items: Drawn one by one.
        run: Given from 1 to `batch_size` items of one kind; a result for each.
        kind: Of an item.
        batch_size: Most items that run together.
        look_ahead: Most items that were drawn and whose results were not given yet; at least
            `batch_size`.

    Yields:
        Results. If drawing an item fails, those of the items before it come first.
    """
    source = iter(items)
    waiting: dict[Hashable, list[tuple[int, Item]]] = {}
    done: dict[int, Result] = {}
    drawn = given = 0
    is_drawing = True
    failure: Exception | None = None
    while is_drawing or given < drawn:
        if given in done:
            yield done.pop(given)
            given += 1
            continue
        ready: Hashable | None = None
        if is_drawing and drawn - given < look_ahead:
            try:
                item = next(source)
            except StopIteration:
                is_drawing = False
                continue
            except Exception as error:
                is_drawing, failure = False, error
                continue
            group = waiting.setdefault(kind(item), [])
            group.append((drawn, item))
            drawn += 1
            if len(group) < batch_size:
                continue
            ready = kind(item)
        else:
            # Each group is in order, so what comes next is the first of its own.
            ready = next(name for name, group in waiting.items() if group[0][0] == given)
        batch = waiting.pop(ready)
        results = run([item for _, item in batch])
        done.update(zip((number for number, _ in batch), results, strict=True))
    if failure is not None:
        raise failure
