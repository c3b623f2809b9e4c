"""Symmetric matrices as their upper triangles, which are half the bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray


def triangle_size(dims: int) -> int:
    """Return the number of values in the upper triangle, with its diagonal, of a (dims, dims) matrix."""
    return dims * (dims + 1) // 2


def triangle(matrices: FloatArray) -> FloatArray:
    """Return (..., triangle): the upper triangles, row after row, of symmetric matrices (..., dims, dims)."""
    rows, columns = np.triu_indices(matrices.shape[-1])
    return np.asarray(matrices[..., rows, columns])


def symmetric(triangles: FloatArray, dims: int) -> npt.NDArray[np.float64]:
    """Return (..., dims, dims) float64: the symmetric matrices with these upper triangles."""
    matrices = np.zeros((*triangles.shape[:-1], dims, dims))
    rows, columns = np.triu_indices(dims)
    matrices[..., rows, columns] = triangles
    matrices[..., columns, rows] = triangles
    return matrices
