import { createInterface } from 'node:readline/promises'
import type { RunDetails } from '../../client/index.ts'
import { nameOfRule } from '../../domain/approvals/rules.ts'
import type { CallDecision, Decision } from '../../domain/records.ts'
import { oneLine, visibleJson } from './plain-text.ts'

/** A call that waits for a person. */
export type WaitingCall = NonNullable<
  NonNullable<RunDetails['progress']['waiting_for']>['approval']
>

/** How many digits of the hash of a call are shown for a person to paste. */
const SHOWN_DIGITS = 16

export const shownHash = ({ call_sha256 }: WaitingCall): string =>
  call_sha256.slice(0, SHOWN_DIGITS)

/** The call that a person decides about: all arguments, each line after a bar, so that none looks like one of ours. */
export function callLines(waiting: WaitingCall): string[] {
  const { call, content, rule, doubt } = waiting
  const { reason, by } = content
  return [
    `The agent wants to call ${oneLine(call.tool)} (${shownHash(waiting)}…):`,
    ...(call.raw_args === undefined
      ? Object.entries(call.args).flatMap(([name, value]) => argLines(name, value))
      : barred('  ', call.raw_args)),
    `${nameOfRule(rule)} asks first${reason === undefined ? '' : `: ${oneLine(reason)}`}`,
    ...(doubt === null
      ? []
      : [`The rule applies because the call cannot be judged with certainty: ${oneLine(doubt)}`]),
    ...(by === 'other_than_starter'
      ? ['Somebody other than the person who started the run must answer.']
      : []),
  ]
}

const SIGNS: Readonly<Record<string, string>> = { old: '-', new: '+' }

function argLines(name: string, value: unknown): string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2)
  return [`  ${oneLine(name)}:`, ...barred(`  ${SIGNS[name] ?? ''}`, text)]
}

const barred = (indent: string, text: string): string[] =>
  text.split('\n').map((line) => `${indent}| ${visibleJson(line)}`)

type Answer<D> = { readonly decision: D; readonly reason: string | null }

type Decisions<D> = Readonly<Record<string, D | 'later'>>

const CALL_DECISIONS: Decisions<CallDecision> = {
  a: 'allow',
  allow: 'allow',
  d: 'deny',
  deny: 'deny',
  '': 'later',
}
const DECISIONS: Decisions<Decision> = {
  a: 'approve',
  approve: 'approve',
  x: 'abort',
  abort: 'abort',
  '': 'later',
}

/** Asks what happens with a run that waits. */
export const askDecision = (signal: AbortSignal, onInterrupt: () => void) =>
  ask('[a]pprove, [x] abort, Enter to decide later: ', DECISIONS, signal, onInterrupt)

/** Asks whether the call that waits may begin. */
export const askAboutCall = (signal: AbortSignal, onInterrupt: () => void) =>
  ask('[a]llow, [d]eny, Enter to decide later: ', CALL_DECISIONS, signal, onInterrupt)

/** Whether there is a person to ask. */
export const atTerminal = (): boolean => process.stdin.isTTY && process.stderr.isTTY

/**
 * Asks the person at the terminal what to do with a run. Null if the person leaves the decision open, or
 * `signal` withdraws the question.
 * @param onInterrupt called for Ctrl+C, which sends no signal while the terminal is in this mode
 */
async function ask<D extends string>(
  question: string,
  decisions: Decisions<D>,
  signal: AbortSignal,
  onInterrupt: () => void,
): Promise<Answer<D> | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new AbortController()
  terminal.once('SIGINT', onInterrupt)
  terminal.once('close', () => closed.abort())
  const options = { signal: AbortSignal.any([signal, closed.signal]) }
  try {
    for (;;) {
      const text = await terminal.question(question, options)
      const decision = decisions[text.trim().toLowerCase()]
      if (decision === undefined) continue
      if (decision === 'later') return null
      const reason = await terminal.question('Reason (Enter for none): ', options)
      return { decision, reason: reason.trim() || null }
    }
  } catch (thrown) {
    if (!options.signal.aborted) throw thrown
    process.stderr.write('\n')
    return null
  } finally {
    terminal.close()
  }
}
