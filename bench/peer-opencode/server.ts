import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ServerProcess } from '../loop/start-process.ts'
import { opencodeConfig, opencodeEnvironment } from './config.ts'

/** Starts `opencode serve` on the project. It keeps all of its data in `folder`. */
export async function startOpencode(
  program: string,
  places: { readonly folder: string; readonly project: string; readonly modelUrl: string },
): Promise<ServerProcess> {
  const { folder, project, modelUrl } = places
  await mkdir(folder, { recursive: true })
  const configFile = join(folder, 'opencode.json')
  await writeFile(configFile, JSON.stringify(opencodeConfig(modelUrl)))
  const args = ['serve', '--pure', '--port', '0', '--log-level', 'ERROR']
  const env = opencodeEnvironment(folder, configFile)
  const child = spawn(program, args, { cwd: project, env, stdio: ['ignore', 'pipe', 'ignore'] })
  const exited = once(child, 'exit')
  const died = exited.then(([code]) => {
    throw new Error(`opencode serve stopped with code ${code}`)
  })
  const url = await Promise.race([listeningAt(child), died])
  died.catch(() => {})
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exited
    },
  }
}

function listeningAt({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    if (stdout === null) throw new Error('stdout is a pipe')
    createInterface({ input: stdout }).on('line', (line) => {
      const url = /listening on (http\S+)/.exec(line)?.[1]
      if (url !== undefined) resolve(url)
    })
  })
}
