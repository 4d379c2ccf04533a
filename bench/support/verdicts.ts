import { integer } from './figures.ts'

const held = (holds: boolean): string => (holds ? 'yes' : '**NO**')

/** Cells of a table: what was asked, what was measured, and whether it holds. */
export type Verdict = readonly [asked: string, measured: string, held: string]

/** A share of the limit that was measured beside it. */
export function atLeast(ratio: number, asked: number): Verdict {
  return [`≥ ${asked.toFixed(2)}`, ratio.toFixed(2), held(ratio >= asked)]
}

/** A share of what was measured beside it. */
export function atMost(ratio: number, asked: number): Verdict {
  return [`≤ ${asked.toFixed(2)}`, ratio.toFixed(2), held(ratio <= asked)]
}

/** A number for each second. */
export function moreThan(perSecond: number, asked: number): Verdict {
  return [`> ${integer(asked)}/s`, `${integer(perSecond)}/s`, held(perSecond > asked)]
}

/** Memory. */
export function atMostMiB(mib: number, asked: number): Verdict {
  return [`≤ ${asked} MiB`, `${mib.toFixed(0)} MiB`, held(mib <= asked)]
}

/** Memory of something small. */
export function atMostKiB(kib: number, asked: number): Verdict {
  return [`≤ ${asked} KiB`, `${kib.toFixed(0)} KiB`, held(kib <= asked)]
}

/** A time. */
export function atMostMs(ms: number, asked: number): Verdict {
  return [`≤ ${asked} ms`, `${ms.toFixed(1)} ms`, held(ms <= asked)]
}

/** A delay. */
export function below(ms: number, asked: number): Verdict {
  return [`< ${asked} ms`, `${ms.toFixed(1)} ms`, held(ms < asked)]
}

/** The cells for a figure without a target: those of a verdict, without the target. */
export const notAsked = ([, measured]: Verdict): Verdict => ['–', measured, '–']
