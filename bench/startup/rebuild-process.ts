/** Main module of the process in which read models are built, which the bench builds. */
import { answerCalls } from '../support/calls.ts'
import { type Rebuild, timeRebuild } from './rebuild.ts'

const operations = {
  time: ({ dataDir, records }: { readonly dataDir: string; readonly records: number }) =>
    timeRebuild(dataDir, records) satisfies Promise<Rebuild>,
}
export type RebuildOperations = typeof operations

answerCalls(operations)
