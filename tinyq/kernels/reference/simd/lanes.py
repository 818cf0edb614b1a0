"""Sums in the contract's order, spelled out: 32 float64 lanes over a chunk, a tree over the lanes, chunks ascending."""
import numpy as np

from tinyq.kernels.contract import LANES, REDUCTION_CHUNK


def lane_sum(values):
    """Sum over the last axis as one chunk, float64: lane j adds j, j + 32, ...; then lanes 16, 8, 4, 2, 1 apart."""
    count = values.shape[-1]
    steps = -(-count // LANES)
    padded = np.zeros((*values.shape[:-1], steps * LANES))
    padded[..., :count] = values
    lanes = np.zeros((*values.shape[:-1], LANES))
    for k in range(steps):
        lanes = lanes + padded[..., k * LANES:(k + 1) * LANES]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def ascending_sum(values):
    """Sum over the last axis one by one, float64."""
    total = np.zeros(values.shape[:-1])
    for k in range(values.shape[-1]):
        total = total + values[..., k]
    return total


def chunked_sum(values):
    """Sum over the last axis in chunks of REDUCTION_CHUNK, float64."""
    total = np.zeros(values.shape[:-1])
    for k in range(0, values.shape[-1], REDUCTION_CHUNK):
        total = total + lane_sum(values[..., k:k + REDUCTION_CHUNK])
    return total


def plane_sum(values):
    """Sum of each channel of values (n, c, elements per plane): (c,) float64; a plane is a chunk."""
    return ascending_sum(lane_sum(values).T)
