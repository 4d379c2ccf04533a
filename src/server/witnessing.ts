import { ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { OwnLog } from '../audit/witness/own-log.ts'
import { Witnesses } from '../audit/witness/witnesses.ts'
import { readSettingFile } from '../lib/setting-file.ts'
import { readNoteKey } from '../lib/signed-note.ts'
import { fetchUpTo } from '../models/patient-fetch.ts'
import type { Identity } from './data-folder.ts'
import type { Parts } from './open-history.ts'

const WitnessKey = z.string().transform((line, context) => {
  const key = readNoteKey(line, 'cosignature')
  if (key.isOk()) return key.value
  context.addIssue(`is not the key of a witness: ${key.error}`)
  return z.NEVER
})
const Address = z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' })

/** Who sees the checkpoints of a server, and how many of them must. */
const WitnessFile = z
  .strictObject({
    quorum: z.int('must be a whole number').min(1, 'must be at least 1'),
    witnesses: z.array(
      z.strictObject({ key: WitnessKey, url: Address.transform((url) => url.replace(/\/+$/, '')) }),
    ),
  })
  .superRefine(({ quorum, witnesses }, { addIssue }) => {
    const count = new Set(witnesses.map(({ key }) => key.line)).size
    if (count < witnesses.length) addIssue('names a witness twice')
    if (quorum > count) addIssue(`asks for a quorum of ${quorum}, and names ${count} witnesses`)
  })
export type WitnessFile = z.infer<typeof WitnessFile>

/** Reads the file of RETRAI_WITNESSES; null without one. The error is a text for people. */
export const readWitnessFile = async (
  path: string | undefined,
): Promise<Result<WitnessFile | null, string>> =>
  path === undefined ? ok(null) : readSettingFile('RETRAI_WITNESSES', path, WitnessFile)

/** An answer of a witness is shorter. */
const MAX_ANSWER_BYTES = 64 * 1024

/** The log of checkpoints of a server, which is shown to its witnesses from now on; `witnesses` is null if it has none. */
export async function startWitnesses(
  { store, log }: Pick<Parts, 'store' | 'log'>,
  { keyring, serverId, renewServerId }: Identity,
  file: WitnessFile | null,
): Promise<{ readonly ownLog: OwnLog; readonly witnesses: Witnesses | null }> {
  const ownLog = new OwnLog({ store, keyring, serverId, needed: file?.quorum ?? 1 })
  const set = await keyring.setWitnessed(file !== null)
  const forgotten = file === null ? await keyring.forgetRetired() : ok()
  const done = set.andThen(() => forgotten)
  if (done.isErr())
    log.warn({ error: done.error }, 'the private parts of retired keys are as they were')
  if (file === null) return { ownLog, witnesses: null }
  const { quorum, witnesses } = file
  const deps = { ownLog, store, keyring, quorum, witnesses, renewServerId, log }
  return { ownLog, witnesses: new Witnesses({ ...deps, fetch: fetchUpTo(MAX_ANSWER_BYTES) }) }
}
