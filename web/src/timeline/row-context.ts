import { createContext } from 'react'

/** What every row may ask for. */
export type RowTools = {
  /** When the run began, seconds since the epoch. */
  readonly began: number
  readonly seek: (seq: number) => void
  readonly showRecords: (seqs: readonly number[]) => void
}

export const RowToolsContext = createContext<RowTools>({
  began: 0,
  seek: () => {},
  showRecords: () => {},
})
