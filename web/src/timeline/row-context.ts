import { createContext } from 'react'
import type { PartText } from '../../../src/client/index.ts'

/** What every row can use. */
export type RowTools = {
  readonly runId: string
  /** When the run began, seconds since the epoch. */
  readonly began: number
  /** The record that is not valid; null if none is known. */
  readonly bad: number | null
  readonly seek: (seq: number) => void
  readonly showRecords: (seqs: readonly number[]) => void
}

export const RowToolsContext = createContext<RowTools>({
  runId: '',
  began: 0,
  bad: null,
  seek: () => {},
  showRecords: () => {},
})

/** The output of the calls that run, by the id of the call. */
export const OutputContext = createContext<ReadonlyMap<string, PartText>>(new Map())
