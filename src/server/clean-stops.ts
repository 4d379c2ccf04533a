import { readFile, writeFile } from 'node:fs/promises'
import { ResultAsync } from 'neverthrow'

/** The processes of a server that were stopped, by their claimants, a line each, latest last. */
const KEPT = 100

/** Reads who was stopped. A process that is not among them has crashed, or its stop was long ago. */
export async function cleanStops(file: string): Promise<ReadonlySet<string>> {
  const text = await ResultAsync.fromPromise(readFile(file, 'utf8'), String).unwrapOr('')
  return new Set(text.split('\n').filter((line) => line !== ''))
}

/** Notes that this process is being stopped. The error is a text for people. */
export function noteCleanStop(file: string, claimant: string): ResultAsync<void, string> {
  const note = async (): Promise<void> => {
    const latest = [...(await cleanStops(file)), claimant].slice(-KEPT)
    await writeFile(file, `${latest.join('\n')}\n`)
  }
  return ResultAsync.fromPromise(note(), String)
}
