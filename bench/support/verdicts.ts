import { integer } from './figures.ts'

/** Cells of a table: what was asked, and what was measured, in bold if it is not what was asked. */
export type Verdict = readonly [asked: string, measured: string]

const verdict = (asked: string, measured: string, holds: boolean): Verdict => [
  asked,
  holds ? measured : `**${measured}**`,
]

/** A share of the limit that was measured beside it. */
export function atLeast(ratio: number, asked: number): Verdict {
  return verdict(`≥ ${asked.toFixed(2)}`, ratio.toFixed(2), ratio >= asked)
}

/** A share of what was measured beside it. */
export function atMost(ratio: number, asked: number): Verdict {
  return verdict(`≤ ${asked.toFixed(2)}`, ratio.toFixed(2), ratio <= asked)
}

/** A number for each second. */
export function moreThan(perSecond: number, asked: number): Verdict {
  return verdict(`> ${integer(asked)}/s`, `${integer(perSecond)}/s`, perSecond > asked)
}

/** Memory. */
export function atMostMiB(mib: number, asked: number): Verdict {
  return verdict(`≤ ${asked} MiB`, `${mib.toFixed(0)} MiB`, mib <= asked)
}

/** Memory of something small. */
export function atMostKiB(kib: number, asked: number): Verdict {
  return verdict(`≤ ${asked} KiB`, `${kib.toFixed(0)} KiB`, kib <= asked)
}

/** A time. */
export function atMostMs(ms: number, asked: number): Verdict {
  return verdict(`≤ ${asked} ms`, `${ms.toFixed(1)} ms`, ms <= asked)
}

/** A delay. */
export function below(ms: number, asked: number): Verdict {
  return verdict(`< ${asked} ms`, `${ms.toFixed(1)} ms`, ms < asked)
}

/** The cells for a figure without a target: those of a verdict, without the target. */
export const notAsked = ([, measured]: Verdict): Verdict => ['–', measured.replaceAll('*', '')]
