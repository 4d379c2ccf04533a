import { principalOf } from '../run/attribution.ts'
import type { SeqRecord } from '../run/seq-record.ts'
import classes from './rows.module.css'

/** Who caused a record, behind what they did; nothing where no person did. */
export function By({ record }: { readonly record: SeqRecord }) {
  const principal = principalOf(record)
  if (principal === null) return null
  return (
    <>
      {' '}
      by <b className={classes.principal}>{principal}</b>
    </>
  )
}
