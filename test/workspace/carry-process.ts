import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { parentPort } from 'node:worker_threads'

/**
 * Carries files in a folder, each time as a new program, which dies before one of its changes to the file system: from then on
 * it changes nothing. All that it does is synchronous, so the folder is as `kill -9` would leave it. It answers null if it died.
 */

const CHANGES = [
  'renameSync',
  'unlinkSync',
  'rmdirSync',
  'mkdirSync',
  'rmSync',
  'symlinkSync',
  'openSync',
  'writeFileSync',
  'fchmodSync',
  'fsyncSync',
] as const

type Asked = { readonly question: never; readonly body: Uint8Array; readonly killAt: number }
/** How many changes it makes before its death. */
let left = 0
let programs = 0

for (const name of CHANGES) {
  const act = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (name !== 'openSync' || args[1] === 'wx') left -= 1
      if (left < 0) throw new Error('it is dead')
      return act(...args)
    },
  })
}
syncBuiltinESMExports()

parentPort?.on('message', async ({ question, body, killAt }: Asked) => {
  programs += 1
  left = killAt
  // The program opens its folder by the arguments of the process.
  const { carry } = await import(`../../src/workspace/program/carry.ts?${programs}`)
  let answer: unknown = null
  try {
    answer = carry(question, Buffer.from(body))
  } catch {}
  parentPort?.postMessage(left < 0 ? null : answer)
})
