"""Implicit ALS: users and items as short vectors, found by the library `implicit`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.models.scorer import Reason, shares_of_items

__all__ = ["ImplicitAls"]


class ImplicitAls:
    """score(j) = w' y_j, where the vector w is folded in from the history with confidences c_i = alpha x_i:
    w = (Y'Y + regularization I + sum (c_i - 1) y_i y_i')^-1 sum c_i y_i.

    The item vectors Y are those of the last fit: a history counts at once, what others did since counts at the next
    fit. Only positive weights are taken. Immutable.

    Source: Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets, ICDM 2008, equation 4 and,
    for the reasons, section 5; parameters as in Rendle et al., Revisiting the performance of iALS, RecSys 2022.
    """

    name = "als"

    def __init__(
        self,
        item_vectors: NDArray[np.float64],
        regularization: float,
        alpha: float,
        common: NDArray[np.float64] | None = None,
    ) -> None:
        """`common` is Y'Y + regularization I, (f, f), where it is known."""
        self.item_vectors = item_vectors
        self._regularization = regularization
        self._alpha = alpha
        if common is None:
            common = item_vectors.T @ item_vectors + regularization * np.eye(item_vectors.shape[1])
        self._common = common

    @classmethod
    def fit(
        cls,
        table: InteractionTable,
        factors: int = 32,
        regularization: float = 10.0,
        alpha: float = 2.0,
        iterations: int = 30,
        seed: int = 0,
        threads: int = 1,
    ) -> "ImplicitAls":
        """Fit the item vectors to the table."""
        if not table.matrix().nnz:
            return cls(np.zeros((table.n_items, factors)), regularization, alpha)
        # Imported where it is needed: it takes a second and a BLAS of its own.
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        # implicit spreads users over its own threads and asks for a BLAS of one thread below them.
        with threadpool_limits(1, "blas"):
            fitted = AlternatingLeastSquares(
                factors=factors,
                regularization=regularization,
                alpha=alpha,
                iterations=iterations,
                random_state=seed,
                num_threads=threads,
            )
            fitted.fit(_as_implicit_takes_it(table), show_progress=False)
        return cls(np.asarray(fitted.item_factors, np.float64), regularization, alpha)

    def widen(self, n_items: int) -> "ImplicitAls":
        """Return the model with room for `n_items`; an item that came after the fit has the vector 0."""
        new = np.zeros((n_items - len(self.item_vectors), self.item_vectors.shape[1]))
        return ImplicitAls(np.vstack([self.item_vectors, new]), self._regularization, self._alpha, self._common)

    def user_vectors(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return the folded-in vectors, (histories, factors)."""
        return np.stack([self._system(history)[1] for history in histories])

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        if not histories:
            return np.empty((0, len(self.item_vectors)))
        return self.user_vectors(histories) @ self.item_vectors.T

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return the shares of the history's items: c_i y_j' (...)^-1 y_i; see `Scorer`."""
        system, _ = self._system(history)
        towards = np.linalg.solve(system, self.item_vectors[items].T)
        confidences = self._alpha * np.maximum(history.weights, 0)
        return shares_of_items(history.items, confidences * (self.item_vectors[history.items] @ towards).T)

    def _system(self, history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the matrix of the least squares problem (f, f) and its solution (f,)."""
        liked = history.weights > 0
        vectors = self.item_vectors[history.items[liked]]
        confidences = self._alpha * history.weights[liked]
        system = self._common + (vectors.T * (confidences - 1)) @ vectors
        return system, np.asarray(np.linalg.solve(system, confidences @ vectors), np.float64)


def _as_implicit_takes_it(table: InteractionTable) -> object:
    from scipy.sparse import csr_matrix  # noqa: PLC0415

    matrix = csr_matrix(table.matrix(), dtype=np.float32)
    matrix.data = np.maximum(matrix.data, 0)
    matrix.eliminate_zeros()
    return matrix
