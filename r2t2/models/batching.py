"""As many rows at once as the device's memory holds, for models that are large."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Made = TypeVar("Made")
Loss = Callable[[slice, Float[Tensor, "rows ..."]], Float[Tensor, " rows"]]
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


class Batches:
    """Runs work in batches of rows; whenever memory runs out, a batch becomes half as large.

    Parameters
    ----------
    size : rows of the first batch.
    spare : gives up what is in memory only to be at hand, for a single row that does not fit
        beside it; False where there is nothing of the kind.
    """

    def __init__(self, size: int, spare: Callable[[], bool] = lambda: False) -> None:
        self.size = max(1, size)
        self._spare = spare

    def __call__(self, rows: int, work: Callable[[slice], Made]) -> list[Made]:
        """What `work` makes of each batch, in order.

        Raises
        ------
        MemoryError : not even a single row fits.
        """
        made: list[Made] = []
        start = 0
        while start < rows:
            part = slice(start, min(start + self.size, rows))
            try:
                made.append(work(part))
                start = part.stop
                continue
            except OUT_OF_MEMORY as error:
                if part.stop - part.start == 1 and not self._spare():
                    raise MemoryError(
                        f"not even one sample fits into memory ({error}); shorten what is kept of "
                        "it, load the weights in a smaller dtype, or use a larger device"
                    ) from error
            # After the except clause, whose traceback still holds the tensors that did not fit.
            self.size = max(1, (part.stop - part.start) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return made


def rowwise(
    loss: Loss,
    r: Float[Tensor, "rows ..."],
    batches: Batches,
    saving: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Float[Tensor, " rows"]:
    """The losses of rows that do not depend on each other, batch by batch, differentiable in r.

    The gradient is taken along with the loss, so that what backpropagation needs is held for one
    batch at a time, and running out of memory in it halves the batch as well.

    Parameters
    ----------
    saving : the context in which a batch's loss and gradient are computed.
    """
    return _Rowwise.apply(r, loss, batches, saving)


class _Rowwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, r: Tensor, loss: Loss, batches: Batches, saving: Any) -> Tensor:
        def part(rows: slice) -> tuple[Tensor, Tensor]:
            own = r[rows].detach()
            if not ctx.needs_input_grad[0]:
                return loss(rows, own), own
            with torch.enable_grad(), saving():
                value = loss(rows, own.requires_grad_())
                (gradient,) = torch.autograd.grad(value.sum(), own)
            return value.detach(), gradient

        values, gradients = zip(*batches(len(r), part), strict=True)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (gradients,) = ctx.saved_tensors
        (grad,) = grads
        return grad.view(-1, *[1] * (gradients.dim() - 1)) * gradients, None, None, None
