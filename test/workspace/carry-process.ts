/** Carries files in a folder, and is killed before one of its changes to the file system, as `kill -9` does. */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { buffer } from 'node:stream/consumers'

const CHANGES = [
  ...(['renameSync', 'unlinkSync', 'rmdirSync', 'mkdirSync', 'rmSync'] as const),
  ...(['symlinkSync', 'openSync', 'writeFileSync', 'fchmodSync', 'fsyncSync'] as const),
] as const

type Asked = { readonly question: never; readonly body: string; readonly killAt: number }
const asked: Asked = JSON.parse((await buffer(process.stdin)).toString())
let left = asked.killAt

for (const name of CHANGES) {
  const act = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      const changes = name !== 'openSync' || args[1] === 'wx'
      if (changes && left === 0) process.kill(process.pid, 'SIGKILL')
      if (changes) left -= 1
      return act(...args)
    },
  })
}
syncBuiltinESMExports()
// The program opens its folder by the arguments of the process.
const { carry } = await import('../../src/workspace/program/carry.ts')
const { answer } = carry(asked.question, Buffer.from(asked.body, 'base64'))
process.stdout.write(JSON.stringify({ ...answer, steps: asked.killAt - left }))
