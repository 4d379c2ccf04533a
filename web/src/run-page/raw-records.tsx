import { Modal } from '@mantine/core'
import { Code } from '../code/code.tsx'
import type { RunView } from '../run/run-view.ts'
import classes from './run-page.module.css'

type Props = {
  readonly view: RunView
  readonly seqs: readonly number[]
  readonly onClose: () => void
}

/** Records as they came over the wire. */
export function RawRecords({ view, seqs, onClose }: Props) {
  return (
    <Modal
      opened={seqs.length > 0}
      onClose={onClose}
      title={seqs.length === 1 ? 'The raw record' : 'The raw records'}
      size="xl"
    >
      {seqs.map((seq) => {
        const json = JSON.stringify(view.records[seq], null, 2)
        return (
          <div key={seq} className={classes.record}>
            <div className={classes.head}>
              <span>Record {seq}</span>
            </div>
            <Code text={json} language="json" />
          </div>
        )
      })}
    </Modal>
  )
}
