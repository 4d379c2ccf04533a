import type { RunVerdict, Verdict } from '../../../src/api/records.ts'
import { visible } from '../ui/foreign-text.ts'
import classes from './rows.module.css'

const FOUND: Readonly<Record<Verdict, string>> = {
  achieved: 'reached',
  not_achieved: 'not reached',
  cannot_check: 'cannot be checked',
}
const PACKAGES = {
  same: 'as at the start',
  reinstalled: 'changed, and installed again for the check',
  changed: 'changed',
} as const

/** What the last record of a run says of its goal, and of what it did to the files that check it. */
export function RunVerdictLines({ verdict }: { readonly verdict: RunVerdict }) {
  const { as_is, original_checks, accept, dependencies, tampering, not_copied = [] } = verdict
  const lines = [
    ['The goal, in the project as it is', FOUND[as_is]],
    ['With the protected files of the start', original_checks && FOUND[original_checks]],
    ['The check that the agent does not see', accept && FOUND[accept]],
    ['Installed packages', dependencies && PACKAGES[dependencies]],
    ['Protected files', tampering.map(({ path, change }) => `${path} (${change})`).join(', ')],
    ['Not in the copy that was checked', not_copied.join(', ')],
  ] as const
  return (
    <dl className={classes.verdictLines}>
      {lines.map(([name, value]) =>
        value === null || value === '' ? null : (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{visible(value)}</dd>
          </div>
        ),
      )}
    </dl>
  )
}
