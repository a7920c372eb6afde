"""A loaded model with its tokenizer and scheduler: llama.cpp, as the rest of jlocal sees it."""

from __future__ import annotations

from jlocal.errors import ModelError
from jlocal.llama.choice import ComputeType
from jlocal.llama.context import POOLING, Context, captures, takes_pieces
from jlocal.llama.model import Model
from jlocal.llama.planning import token_budget
from jlocal.llama.scheduler import Scheduler
from jlocal.llama.side_by_side import SideBySide, choose_side_by_side
from jlocal.llama.threads import default_threads
from jlocal.llama.tokenizer import Tokenizer
from jlocal.models.profile import Profile
from jlocal.terms import Argument


class Runtime:
    """A model's weights, its tokenizer and the scheduler that computes; thread-safe.

    Callers tokenise in their own threads; the scheduler's threads compute.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        threads: int | None,
        gpu_layers: int | None,
        compute_type: ComputeType,
        capture: bool | None,
        writable: bool = False,
        side_by_side: bool | None = None,
    ) -> None:
        """Load the model.

        Args:
            profile: the profile of the GGUF file.
            threads: CPU threads; None takes one for each physical core.
            gpu_layers: how many layers to put on a GPU; -1 for all, None for all if they fit.
            compute_type: as in `Model`.
            capture: True to capture hidden states, False to use llama.cpp's pooling, None to
                choose by the model.
            writable: as in `Model`.
            side_by_side: whether batches that wait are computed side by side, on a thread each;
                None chooses by the size of the model.

        Raises:
            ModelError: the file cannot be loaded, or its vectors cannot be pooled.

        """
        fits = captures(profile)
        if capture and not fits:
            raise ModelError(
                f"{profile.path}: hidden states of this model cannot be captured", path=profile.path
            )
        if profile.pooling not in POOLING:
            raise _no_pooling(profile)
        threads = threads or default_threads()
        self.model = model = Model(
            profile,
            threads=threads,
            gpu_layers=gpu_layers,
            compute_type=compute_type,
            writable=writable,
        )
        self.tokenizer = Tokenizer(model)
        self.compute_type = model.compute_type
        capture = fits if capture is None else capture
        chosen = (
            choose_side_by_side(profile.header, threads, side_by_side)
            if model.device == "cpu"
            else SideBySide()
        )
        budget = token_budget(model.device)
        self.scheduler = Scheduler(
            model,
            Context(model, threads, capture, budget),
            passing=Context(model, threads, capture, budget) if takes_pieces(profile) else None,
            singles=[Context(model, 1, capture, budget) for _ in range(chosen.contexts)],
            lone_tokens=chosen.lone_tokens,
            least_share=chosen.least_share,
        )

    def close(self) -> None:
        """Cancel all work and free the contexts.

        The weights are freed when nothing refers to the runtime any more, since another thread
        may be tokenising.
        """
        self.scheduler.close()


def _no_pooling(profile: Profile) -> ModelError:
    if profile.pooling == "rank":
        return ModelError(
            f"{profile.path} is a reranker, not an embedding model", path=profile.path
        )
    pooling = Argument("pooling", "last")
    return ModelError(
        f"{profile.path} names no pooling: it is a generative model, or was converted without it; "
        f"if it is a last-token embedding model, pass {pooling}",
        pooling,
        path=profile.path,
    )
