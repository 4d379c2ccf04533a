import * as z from 'zod'
import { Sha256 } from './fields.ts'
import { MOST_NAMED, Tampered } from './snapshots.ts'

/** What a check of the goal found: `cannot_check` if there is nothing to check with, such as no pytest. */
export const Verdict = z.enum(['achieved', 'not_achieved', 'cannot_check'])
export type Verdict = z.infer<typeof Verdict>

/** What a run does if it would reach its goal with other protected files than those of its start. */
export const OnTampering = z.enum([
  /** It ends as achieved, and its end says which. */
  'report',
  /** It does not. The agent learns once what it has to restore. */
  'fail',
  /** Nobody looks. */
  'off',
])
export type OnTampering = z.infer<typeof OnTampering>

/** The packages that the project has installed in itself, compared with those of the start of the run. */
const Dependencies = z.enum(['same', 'reinstalled', 'changed'])

const checked = {
  /** The check of the goal in a clean copy, with protected files as they were at the start; null: it was not made. */
  original_checks: Verdict.nullable(),
  /** The check that the agent does not see; null if the run has none, or it was not made. */
  accept: Verdict.nullable(),
  tampering: z.array(Tampered).max(MOST_NAMED).readonly(),
  /** Null if nobody looked. */
  dependencies: Dependencies.nullable(),
  /** The files that were checked, as in a snapshot; null if there is none. */
  tree: Sha256.nullable(),
  /** What the snapshots leave out and was not in the copy: it was not as at the start, or could not be copied. */
  not_copied: z.array(z.string()).max(MOST_NAMED).readonly().exactOptional(),
}

/** The versions of programs, by their names. */
export const Versions = z.record(z.string(), z.string()).readonly()
export type Versions = z.infer<typeof Versions>

/** The last check before a run ends as achieved, by which it does or does not. */
export const FinalCheck = z.strictObject({
  ...checked,
  /** Why the run does not end as achieved: protected files or the original checks, or the check that the agent does not see. */
  rejected: z.enum(['tampering', 'accept']).nullable(),
  /** A sentence for people. */
  reason: z.string(),
  /** What the model reads; '' if nothing. */
  feedback: z.string(),
  duration_ms: z.int().nonnegative(),
  /** Of the programs that a check finds in the copy. Records of earlier versions do not have it. */
  versions: Versions.exactOptional(),
})
export type FinalCheck = z.infer<typeof FinalCheck>

/** What a run has come to, as its last record says it. */
export const RunVerdict = z
  .strictObject({
    /** The last check of the goal in the project as the run left it. */
    as_is: Verdict,
    ...checked,
  })
  .readonly()
export type RunVerdict = z.infer<typeof RunVerdict>

/** What of a final check the state keeps. `isOver`: the agent knew what to restore, or cannot help it. */
export type FinalState = Omit<FinalCheck, 'feedback' | 'duration_ms' | 'versions'> & {
  readonly isOver: boolean
}

const NAMED = 3

/** What speaks against a goal that was reached, in words; null if nothing does. */
export function doubtOf(verdict: RunVerdict | undefined): string | null {
  if (verdict?.as_is !== 'achieved') return null
  const { original_checks, tampering, dependencies } = verdict
  const named = tampering.slice(0, NAMED).map(({ path }) => path)
  const more = tampering.length > NAMED ? ', …' : ''
  const doubts = [
    original_checks === 'not_achieved' ? 'the check fails with the files of the start' : '',
    original_checks === 'cannot_check' ? 'it was not checked with the files of the start' : '',
    tampering.length > 0
      ? `${tampering.length} protected ${tampering.length === 1 ? 'file' : 'files'} changed: ${named.join(', ')}${more}`
      : '',
    dependencies === 'changed' ? 'installed packages changed' : '',
  ]
  return doubts.filter(Boolean).join('; ') || null
}
