import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'

/**
 * Carries files in a folder, in a thread that stops before one of its changes to the file system, so that it can be ended
 * there: all that it does is synchronous, so the folder is as `kill -9` would leave it.
 */

const CHANGES = [
  ...(['renameSync', 'unlinkSync', 'rmdirSync', 'mkdirSync', 'rmSync'] as const),
  ...(['symlinkSync', 'openSync', 'writeFileSync', 'fchmodSync', 'fsyncSync'] as const),
] as const

type Asked = { readonly question: never; readonly body: Uint8Array; readonly killAt: number }
const asked: Asked = workerData
let left = asked.killAt

function standStill(): void {
  parentPort?.postMessage(null)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

for (const name of CHANGES) {
  const act = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      const changes = name !== 'openSync' || args[1] === 'wx'
      if (changes && left === 0) standStill()
      if (changes) left -= 1
      return act(...args)
    },
  })
}
syncBuiltinESMExports()
// The program opens its folder by the arguments of the process.
const { carry } = await import('../../src/workspace/program/carry.ts')
const { answer } = carry(asked.question, Buffer.from(asked.body))
parentPort?.postMessage(answer)
