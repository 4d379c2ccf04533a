import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ServerProcess } from '../loop/start-process.ts'
import { opencodeConfig, opencodeEnvironment } from './config.ts'
import { OPENCODE_VERSION } from './install.ts'

/** Longest times until it listens, and until it has ended, milliseconds. */
const START_MS = 60_000
const STOP_MS = 5_000

/**
 * Starts `opencode serve` on the project. It keeps all of its data in `folder`.
 * @throws if it ends, or is not ready in time
 */
export async function startOpencode(
  program: string,
  places: { readonly folder: string; readonly project: string; readonly modelUrl: string },
): Promise<ServerProcess> {
  const { folder, project, modelUrl } = places
  await mkdir(folder, { recursive: true })
  const configFile = join(folder, 'opencode.json')
  await writeFile(configFile, JSON.stringify(opencodeConfig(modelUrl)))
  await markPluginInstalled(join(folder, 'config', 'opencode'))
  const args = ['serve', '--pure', '--port', '0', '--log-level', 'ERROR']
  const env = opencodeEnvironment(folder, configFile)
  const child = spawn(program, args, { cwd: project, env, stdio: ['ignore', 'pipe', 'ignore'] })
  const exited = once(child, 'exit')
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const killTimer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exited
    clearTimeout(killTimer)
  }
  try {
    return { url: await listeningAt(child), [Symbol.asyncDispose]: stop }
  } catch (cause) {
    await stop()
    throw cause
  }
}

function listeningAt(child: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const { stdout } = child
  if (stdout === null) throw new Error('stdout is a pipe')
  createInterface({ input: stdout }).on('line', (line) => {
    const url = /listening on (http\S+)/.exec(line)?.[1]
    if (url !== undefined) resolve(url)
  })
  child.once('exit', (code) => reject(new Error(`opencode serve stopped with code ${code}`)))
  const silent = () => reject(new Error(`opencode serve did not listen within ${START_MS} ms`))
  const timer = setTimeout(silent, START_MS)
  return promise.finally(() => clearTimeout(timer))
}

/** opencode installs a package from npm into its folder of settings, beside its first run, unless it finds it there. */
async function markPluginInstalled(settings: string): Promise<void> {
  await mkdir(join(settings, 'node_modules'), { recursive: true })
  const dependencies = { '@opencode-ai/plugin': OPENCODE_VERSION }
  await writeFile(join(settings, 'package.json'), JSON.stringify({ dependencies }))
  const lock = { lockfileVersion: 3, packages: { '': { dependencies } } }
  await writeFile(join(settings, 'package-lock.json'), JSON.stringify(lock))
}
