"""Pairs of rows and columns with the largest sum of gains: the assignment problem, exactly."""
from __future__ import annotations

import numpy as np


def best_pairs(gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs rows with columns so that the sum of their gains is the largest possible.

    Args:
      gains: float [n, m], finite; a pair of no positive gain is never made, and a row or column may stay alone.

    Returns:
      The rows and the columns of the pairs, int [k] each, by row.
    """
    rows, columns = np.flatnonzero((gains > 0).any(1)), np.flatnonzero((gains > 0).any(0))
    costs = -np.maximum(gains[np.ix_(rows, columns)], 0.)
    if len(rows) <= len(columns):
        left, right = np.arange(len(rows)), _columns_of_rows(costs)
    else:
        left, right = _columns_of_rows(costs.T), np.arange(len(columns))
    order = np.argsort(left)
    left, right = rows[left[order]], columns[right[order]]
    paid = gains[left, right] > 0
    return left[paid], right[paid]


def _columns_of_rows(costs):
    """The column of each row in an assignment of least cost; float [n, m] with n <= m.

    One row after the other enters by the shortest augmenting path, found as Dijkstra does over costs that prices keep
    from being negative (Jonker and Volgenant 1987, in the rectangular form of Crouse, IEEE TAES 2016). n^2 m steps at
    worst, m at once.
    """
    count, width = costs.shape
    row_prices, column_prices = np.zeros(count), np.zeros(width)
    owners = np.full(width, -1)
    for start in range(count):
        distances, before = np.full(width, np.inf), np.full(width, -1)
        reached = np.zeros(width, bool)
        row, column, distance = start, -1, 0.
        while row >= 0:
            through = distance + costs[row] - row_prices[row] - column_prices
            shorter = ~reached & (through < distances)
            distances[shorter], before[shorter] = through[shorter], column
            column = int(np.where(reached, np.inf, distances).argmin())
            distance, row = distances[column], owners[column]
            reached[column] = True
        passed = np.flatnonzero(reached & (owners >= 0))
        row_prices[start] += distance
        row_prices[owners[passed]] += distance - distances[passed]
        column_prices[reached] -= distance - distances[reached]
        while column >= 0:                      # each column on the path goes to the row before it
            earlier = before[column]
            owners[column] = owners[earlier] if earlier >= 0 else start
            column = earlier
    found = np.flatnonzero(owners >= 0)
    return found[np.argsort(owners[found])]
