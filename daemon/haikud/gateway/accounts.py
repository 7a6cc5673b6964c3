"""What an attempt is told of its calls, and the daemon of an attempt's: AttemptAccount, from the books."""

from __future__ import annotations

from datetime import datetime

from haikud.contracts.base import utc_now
from haikud.contracts.gateway import AttemptAccount, AttemptToken, RefusedCall
from haikud.gateway.books import Books
from haikud.gateway.tokens import Name
from haikud.spool.usage_journal import used_by_attempt


class Accounts:
    """The accounts of all attempts."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._refused: dict[Name, RefusedCall] = {}

    def note_refusal(self, token: AttemptToken, refused: RefusedCall) -> None:
        """Remember the last call of an attempt that was not made for a budget or a limit."""
        self._refused[token.ref, token.attempt] = refused

    def of(self, token: AttemptToken, after: int = 0, *, with_entries: bool = True) -> AttemptAccount:
        """An attempt's account, with the entries after the first `after`."""
        account = self._books.account(token)
        return AttemptAccount(
            count=len(account.entries),
            entries=account.entries[after:] if with_entries else [],
            total=account.total,
            by_model=dict(account.by_model),
            estimated_usd=account.estimated_usd,
            in_flight=self._books.in_flight(token),
            left_usd=self._books.room(token, utc_now().date()).usd,
            refused=self._refused.get((token.ref, token.attempt)),
        )

    def close(self, name: Name, token: AttemptToken | None, since: datetime) -> AttemptAccount:
        """The last account of an attempt that is over, without entries; from the journal where none is in memory."""
        if token is None:
            used = used_by_attempt(self._books.charges_of(*name, since), *name)
            account = AttemptAccount(
                count=used.total.requests,
                total=used.total,
                by_model=used.by_model,
                estimated_usd=used.estimated_usd,
            )
        else:
            account = self.of(token, with_entries=False)
        self._refused.pop(name, None)
        self._books.forget(*name)
        return account
