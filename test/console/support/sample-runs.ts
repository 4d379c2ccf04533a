import { randomUUID } from 'node:crypto'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { type SampleIteration, SampleRun } from './sample-run.ts'
import { configOf } from './seed.ts'

const READ = `"""Invoices, and what is owed on them."""
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal


@dataclass(frozen=True)
class Line:
    title: str
    amount: Decimal
    vat: Decimal = Decimal("0.20")


class Invoice:
    def __init__(self, lines, issued, days=30):
        self.lines = lines
        self.issued = issued
        self.due = issued + timedelta(days=days)

    def net(self):
        return sum(line.amount for line in self.lines)

    def gross(self):
        return sum(line.amount * (1 + line.vat) for line in self.lines)

    def overdue(self, today=None):
        return (today or date.today()) > self.due
`

const TESTS = `============================= test session starts ==============================
collected 42 items

tests/test_invoice.py ........F..F.....                                  [ 40%]
tests/test_ledger.py ...F............                                    [ 78%]
tests/test_vat.py .........                                              [100%]

=================================== FAILURES ===================================
_________________________ test_gross_rounds_each_line __________________________

    def test_gross_rounds_each_line():
        invoice = Invoice([Line("a", Decimal("0.105"))], date(2026, 1, 1))
>       assert invoice.gross() == Decimal("0.13")
E       AssertionError: assert Decimal('0.12600') == Decimal('0.13')

tests/test_invoice.py:31: AssertionError
=========================== short test summary info ============================
FAILED tests/test_invoice.py::test_gross_rounds_each_line
FAILED tests/test_invoice.py::test_due_on_a_weekend
FAILED tests/test_ledger.py::test_balance_of_an_empty_ledger
3 failed, 39 passed in 0.61s
`

const LOOK: SampleIteration = {
  text: 'I read the invoice module and run the tests, before I change anything.',
  calls: [
    { tool: 'file_list', args: {}, output: 'billing/\ntests/\npyproject.toml (412 bytes)' },
    { tool: 'file_read', args: { path: 'billing/invoice.py' }, output: READ },
    { tool: 'run_pytest', args: {}, output: TESTS, exitCode: 1 },
  ],
  check: {
    achieved: false,
    reason:
      '3 of 42 tests failing: test_gross_rounds_each_line, test_due_on_a_weekend, test_balance_of_an_empty_ledger',
    details: TESTS,
  },
}

const ROUND: SampleIteration = {
  text: 'Three tests fail, for three reasons:\n\n1. `gross()` rounds the sum, **not each line**, as tax law asks for.\n2. A due date on a weekend has to move to the Monday after it.\n3. The ledger of nothing has a balance of `None`.\n\nI begin with the rounding.',
  calls: [
    {
      tool: 'file_patch',
      args: {
        path: 'billing/invoice.py',
        old: '    def gross(self):\n        return sum(line.amount * (1 + line.vat) for line in self.lines)\n',
        new: '    def gross(self):\n        cent = Decimal("0.01")\n        return sum(\n            (line.amount * (1 + line.vat)).quantize(cent, ROUND_HALF_UP)\n            for line in self.lines\n        )\n',
      },
      output: 'Replaced the text at line 22 of billing/invoice.py.',
    },
    {
      tool: 'bash_exec',
      args: { command: 'python3 -m pytest -q tests/test_invoice.py' },
      output:
        "........F..F.....\n2 failed, 15 passed in 0.21s\nNameError: name 'ROUND_HALF_UP' is not defined\n",
      exitCode: 1,
    },
    {
      tool: 'file_patch',
      args: {
        path: 'billing/invoice.py',
        old: 'from decimal import Decimal\n',
        new: 'from decimal import ROUND_HALF_UP, Decimal\n',
      },
      output: 'Replaced the text at line 4 of billing/invoice.py.',
    },
  ],
  check: {
    achieved: false,
    reason: '2 of 42 tests failing: test_due_on_a_weekend, test_balance_of_an_empty_ledger',
    details: TESTS,
  },
}

const WEEKEND: SampleIteration = {
  text: 'The rounding is right now. Next, a due date never falls on a weekend.',
  calls: [
    {
      tool: 'file_patch',
      args: {
        path: 'billing/invoice.py',
        old: '        self.due = issued + timedelta(days=days)\n',
        new: '        self.due = next_working_day(issued + timedelta(days=days))\n',
      },
      output: 'Replaced the text at line 18 of billing/invoice.py.',
    },
    {
      tool: 'file_write',
      args: {
        path: 'billing/calendar.py',
        content:
          'from datetime import date, timedelta\n\n\ndef next_working_day(day: date) -> date:\n    """The day itself, or the Monday after it."""\n    while day.weekday() >= 5:\n        day += timedelta(days=1)\n    return day\n',
      },
      output: 'Wrote 214 bytes to billing/calendar.py.',
    },
  ],
  check: {
    achieved: false,
    reason: '1 of 42 tests failing: test_balance_of_an_empty_ledger',
    details: TESTS,
  },
}

const DONE: SampleIteration = {
  text: 'Only the empty ledger is left: its balance is zero, not nothing.',
  calls: [
    {
      tool: 'file_patch',
      args: {
        path: 'billing/ledger.py',
        old: '    return total\n',
        new: '    return total if total is not None else Decimal(0)\n',
      },
      output: 'Replaced the text at line 40 of billing/ledger.py.',
    },
    { tool: 'run_pytest', args: {}, output: '42 passed in 0.58s\n' },
  ],
  check: { achieved: true, reason: 'All 42 tests passed', details: '42 passed in 0.58s' },
}

const APPROVED = {
  decision: 'approve',
  reason: 'Continue, but leave the public names as they are.',
} as const

type SampleRuns = {
  readonly samples: readonly SampleRun[]
  readonly achieved: string
  readonly waiting: string
}

/** Runs in every state, for pictures and tests. @param now seconds since the epoch */
export function sampleRuns(now: number): SampleRuns {
  const begun = (ago: number, changes: Partial<RunConfig>): SampleRun =>
    new SampleRun(randomUUID(), configOf(changes), now - ago)
  const achieved = randomUUID()
  const waiting = randomUUID()
  const check = (reason: string): SampleIteration => ({
    ...LOOK,
    calls: [],
    check: { achieved: false, reason },
  })
  const samples = [
    begun(86_400 * 3, { goal: 'cargo-test', cwd: '/home/ada/ray-tracer' })
      .iterate(LOOK)
      .iterate(DONE),
    begun(86_400, { goal: 'pyright', cwd: '/home/ada/importer', model_name: 'gpt-5' })
      .iterate(check('41 type errors in 7 files'))
      .iterate(check('12 type errors in 3 files'))
      .fail('The model answered 401: the key was refused.'),
    begun(9000, { goal: 'npm-test', cwd: '/home/ada/storefront', max_iterations: 3 })
      .iterate(check('8 of 120 tests failing: cart, checkout'))
      .iterate(check('5 of 120 tests failing: checkout'))
      .iterate(check('5 of 120 tests failing: checkout')),
    begun(4200, { goal: 'make-test', cwd: '/home/ada/firmware', model_name: 'gemini-2.5-pro' })
      .iterate(check('make test exited with 2'))
      .abort('Wrong branch'),
    begun(3000, { goal: 'go-test', cwd: '/home/ada/gateway', model_name: 'gpt-5' })
      .iterate(LOOK)
      .iterate(ROUND)
      .iterate(DONE),
    new SampleRun(achieved, configOf({ hitl_enabled: true }), now - 1500)
      .iterate({ ...LOOK, answer: { decision: 'approve', reason: null } })
      .iterate({ ...ROUND, answer: APPROVED, by: 'grace' })
      .iterate({ ...WEEKEND, answer: { decision: 'approve', reason: null } })
      .iterate(DONE),
    new SampleRun(waiting, configOf({ hitl_enabled: true, max_cost_usd: 2 }), now - 400)
      .iterate({ ...LOOK, answer: APPROVED })
      .iterate(ROUND),
  ]
  return { samples, achieved, waiting }
}
