"""The equation of one grant.

Units are calls' units for a license and the currency's smallest unit for a deposit. The chain says how much is
granted (`target`); leases, suspensions and records say what of it is committed. Everything else follows:

    committed = leased + suspended + spent
    rest      = max(0, target - committed)        free while the right runs, lapsed after its end
    shortage  = max(0, committed - target)        the chain took back what was committed already
    granted   = target + shortage = free + leased + suspended + spent + lapsed
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from licet_licensing.domain.errors import EquationBroken


@dataclass(frozen=True, slots=True)
class Balance:
    """The equation of one grant. Immutable: each verb returns the balance after it."""

    target: int = 0
    leased: int = 0
    suspended: int = 0
    spent: int = 0
    ended: bool = False

    def __post_init__(self) -> None:
        if min(self.target, self.leased, self.suspended, self.spent) < 0:
            raise EquationBroken(f"negative units in {self}")

    @property
    def committed(self) -> int:
        """Units that are lent, held back or used."""
        return self.leased + self.suspended + self.spent

    @property
    def rest(self) -> int:
        """Granted units that nobody has committed."""
        return max(0, self.target - self.committed)

    @property
    def free(self) -> int:
        """Units that can be lent."""
        return 0 if self.ended else self.rest

    @property
    def lapsed(self) -> int:
        """Units that the end of the right took away unused."""
        return self.rest if self.ended else 0

    @property
    def shortage(self) -> int:
        """Committed units that the chain does not grant any more."""
        return max(0, self.committed - self.target)

    @property
    def granted(self) -> int:
        """All units of the equation."""
        return self.target + self.shortage

    def lend(self, units: int) -> Balance:
        """Free units become leased."""
        if units > self.free:
            raise EquationBroken(f"{units} units lent of {self.free} free ones")
        return replace(self, leased=self.leased + units)

    def spend(self, units: int, *, suspended: bool) -> Balance:
        """Lent units are used up."""
        return replace(self._take(units, suspended=suspended), spent=self.spent + units)

    def release(self, units: int, *, suspended: bool) -> Balance:
        """Lent units come back unused: free again, or lapsed after the end."""
        return self._take(units, suspended=suspended)

    def follow(self, before: Balance, after: Balance) -> Balance:
        """Does what another balance, which takes its units from this one, has done."""
        return replace(
            self,
            leased=self.leased + after.leased - before.leased,
            suspended=self.suspended + after.suspended - before.suspended,
            spent=self.spent + after.spent - before.spent,
        )

    def suspend(self, units: int) -> Balance:
        """Lent units of a lease that ran out are held back until its records tell."""
        return replace(self, leased=self.leased - units, suspended=self.suspended + units)

    def charge(self, units: int) -> Balance:
        """Free units are used up at once (use that was waiting for a right)."""
        if units > self.free:
            raise EquationBroken(f"{units} units charged to {self.free} free ones")
        return replace(self, spent=self.spent + units)

    def _take(self, units: int, *, suspended: bool) -> Balance:
        if suspended:
            return replace(self, suspended=self.suspended - units)
        return replace(self, leased=self.leased - units)
