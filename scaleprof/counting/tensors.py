"""The tensors in an operator's arguments and results, and the memory that holds them."""

from __future__ import annotations

from typing import Any

import torch

SPARSE_LAYOUTS = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def tensors_of(values: Any) -> list[torch.Tensor]:
    """The tensors in an operator's arguments or results: single, or in lists, tuples and dictionaries.

    Operators hold nothing else, and this is called for each: `scaleprof.models.tensors` looks further.
    """
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, (tuple, list)):
        return []
    return [tensor for value in values if value is not None for tensor in tensors_of(value)]


def first_of(result: Any) -> Any:
    """An operator's result, or the first of several."""
    return first_of(result[0]) if isinstance(result, (tuple, list)) and result else result


def elements_of(result: Any) -> int:
    """Elements of all tensors in a result."""
    return sum(tensor.numel() for tensor in tensors_of(result))


def is_sparse(tensor: Any) -> bool:
    """Whether a tensor stores some of its elements only."""
    return isinstance(tensor, torch.Tensor) and tensor.layout in SPARSE_LAYOUTS


def stored_elements(tensor: torch.Tensor) -> int:
    """The elements that a sparse tensor stores."""
    return (tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()).numel()


def storages_of(tensor: torch.Tensor) -> list[Any]:
    """What holds a tensor's elements; the tensor itself where torch hides that (oneDNN's layout)."""
    if tensor.layout is torch.strided:
        return [tensor.untyped_storage()]
    if tensor.layout is torch.sparse_coo:
        return [one.untyped_storage() for one in (tensor._indices(), tensor._values())]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        held = (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        held = (tensor.ccol_indices(), tensor.row_indices(), tensor.values())
    else:
        return [tensor]
    return [one.untyped_storage() for one in held]


def dense_bytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's elements, each stored once."""
    return tensor.numel() * tensor.element_size()


def bytes_in_memory(tensor: torch.Tensor) -> int:
    """Bytes that a tensor's elements take in memory; an expanded or sparse one has fewer than elements."""
    if tensor.layout is torch.strided:
        return min(dense_bytes(tensor), tensor.untyped_storage().nbytes())
    held = storages_of(tensor)
    return sum(one.nbytes() if isinstance(one, torch.UntypedStorage) else dense_bytes(one) for one in held)
