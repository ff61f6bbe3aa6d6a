"""Make drivers.csv: a table of made drivers, and whether each made a claim in one year.

Nothing here was measured on real people and no insurer's data went in. The columns have
unlike scales and lean on each other as one would expect; the rule behind the target is
`log_odds` below, all of it. Run it from the root of the repository:

    python data/make_drivers.py
"""

import argparse
from pathlib import Path

import numpy as np

COLUMNS = (
    "age_years",
    "km_per_year",
    "licence_years",
    "power_kw",
    "car_value_eur",
    "car_age_years",
    "night_share",
)
TARGET = "claim"
NUM_DRIVERS = 4000
# The two drivers of the chapter on normalisation: always the first two rows.
FIRST_TWO = np.array(
    [
        [50, 10_000, 30, 85, 18_000, 5, 0.10],
        [25, 1_000, 5, 55, 4_000, 12, 0.30],
    ]
)


def draw_drivers(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw drivers: (count, 7), columns as in COLUMNS, rounded as a form would ask for them."""
    age = np.clip(18 + 62 * rng.beta(1.5, 2.0, count), 18, 80).round()
    # Most get the licence soon after 18, some much later, nobody before.
    licence = np.clip(age - 18 - rng.exponential(5.0, count), 0, None).round()
    # Heavy tail: a few drive five times the usual distance. The retired drive less.
    km = 11_000 * np.exp(0.7 * rng.standard_normal(count)) * np.where(age > 65, 0.7, 1.0)
    km = np.clip(km, 500, 120_000).round(-2)
    power = 75 + 0.3 * (age - 40) + 30 * rng.gamma(1.5, 1.0, count) - 30
    power = np.clip(power, 35, 400).round()
    car_age = np.clip(rng.gamma(2.0, 4.0, count), 0, 30).round()
    # A strong car costs more, and any car loses about an eighth of its value each year.
    value = 28_000 * (power / 85) ** 1.3 * 0.88**car_age * np.exp(0.25 * rng.standard_normal(count))
    value = np.clip(value, 500, 250_000).round(-2)
    young = np.exp(-(age - 18) / 15)
    night = np.clip(rng.beta(1.2 + 1.5 * young, 6.0, count), 0, 1).round(2)
    return np.stack([age, km, licence, power, value, car_age, night], axis=1)


def log_odds(x: np.ndarray) -> np.ndarray:
    """The rule: drivers (N, 7) to the log-odds (N,) of a claim. It is made up."""
    age, km, licence, power, value, car_age, night = x.T
    distance = np.log(km / 10_000)  # who drives more is out more
    green = np.exp(-licence / 5)  # 1 with a new licence, 0.37 after five years
    old = np.clip(age - 65, 0, None) / 10
    strong = (power - 80) / 40
    dark = (night - 0.2) / 0.12
    dear = np.log(value / 12_000)  # who owns a dear car reports small damage too
    return (
        -2.2
        + 3.5 * distance
        + 6.0 * green
        + 2.0 * old
        + 1.5 * dark
        + 1.5 * dear
        + 0.1 * (car_age - 8)
        # Interactions: what one column means depends on another.
        + 3.0 * green * strong  # power is dangerous in new hands
        + 1.5 * dark * old  # so is the night in old ones
        - 1.5 * distance * dark  # and long ways by night are motorways
    )


def make(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the table: drivers (N, 7), claims (N,) of 0 and 1, and the true chances (N,)."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([FIRST_TWO, draw_drivers(rng, NUM_DRIVERS - len(FIRST_TWO))])
    chance = 1 / (1 + np.exp(-log_odds(x)))
    return x, (rng.random(len(x)) < chance).astype(int), chance


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make drivers.csv.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("drivers.csv"))
    out = parser.parse_args().out
    x, claims, chance = make()
    rows = np.column_stack([x, claims])
    header = ",".join([*COLUMNS, TARGET])
    np.savetxt(out, rows, fmt="%g", delimiter=",", header=header, comments="")
    print(f"{out.name}: {out.stat().st_size / 1e6:.2f} MB, {len(x)} drivers")
    print(f"claims: {claims.mean():.3f}")
    print(f"right at best, knowing the rule (Bayes): {np.maximum(chance, 1 - chance).mean():.3f}")
