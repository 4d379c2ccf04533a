import { createContext } from 'react'

/** What every row may ask for. */
export type RowTools = {
  readonly runId: string
  /** When the run began, seconds since the epoch. */
  readonly began: number
  readonly seek: (seq: number) => void
  readonly showRecords: (seqs: readonly number[]) => void
}

export const RowToolsContext = createContext<RowTools>({
  runId: '',
  began: 0,
  seek: () => {},
  showRecords: () => {},
})
