import { useMutation } from '@tanstack/react-query'
import { fetchExport, save } from '../api/files.ts'
import { messageOf } from '../api/problem.ts'
import { useMayNot } from '../api/use-may.ts'
import type { RunView } from '../run/run-view.ts'
import classes from './trust-panel.module.css'

/** Downloads of the run: with all its proofs, or only the records of this page. */
export function Downloads({ view: { records } }: { readonly view: RunView }) {
  const runId = records[0]?.run_id ?? ''
  const mayNot = useMayNot('runs:export')
  const exported = useMutation({
    mutationFn: async () => save(await fetchExport(runId), `retrai-run-${runId}.tar.gz`),
  })
  const saveLines = (): void => {
    const lines = records.map((record) => `${JSON.stringify(record)}\n`)
    save(new Blob(lines, { type: 'application/x-ndjson' }), `run-${runId}.jsonl`)
  }
  return (
    <div className={classes.downloads}>
      <button
        type="button"
        className={classes.download}
        disabled={mayNot !== null}
        title={mayNot ?? undefined}
        onClick={() => exported.mutate()}
      >
        {exported.isPending ? 'Preparing the export' : 'Signed export (.tar.gz)'}
      </button>
      <button type="button" className={classes.download} onClick={saveLines}>
        These records (.jsonl)
      </button>
      {exported.isError && <span role="alert">{messageOf(exported.error)}</span>}
    </div>
  )
}
