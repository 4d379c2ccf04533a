import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod'
import { startScriptedModel } from '../examples/scripted-model/server.ts'
import { isMissing } from './support/missing.ts'

const TOKEN = 'a-token-for-this-test'
/** Of the image's own health checks. */
const HEALTHY = { timeout: 90_000, interval: 250 }
const SOON = { timeout: 90_000, interval: 100 }

const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return String(port)
}

/** The image, started as docker-compose.yml does, but with the embedded store and the network of this machine. */
async function startImage(modelUrl: string) {
  const name = `retrai-test-${randomUUID()}`
  const port = await freePort()
  const settings = {
    RETRAI_ISOLATION: 'auto',
    RETRAI_TOKEN: TOKEN,
    RETRAI_LLM_BASE_URL: modelUrl,
    RETRAI_LISTEN: `0.0.0.0:${port}`,
  }
  const env = Object.entries(settings).flatMap(([key, value]) => ['--env', `${key}=${value}`])
  onTestFinished(() => {
    docker('rm', '--force', '--volumes', name)
    docker('volume', 'rm', '--force', `${name}-data`, `${name}-workspace`)
  })
  const volumes = ['data', 'workspace'].flatMap((at) => ['--volume', `${name}-${at}:/${at}`])
  docker('run', '--detach', '--network', 'host', '--name', name, ...env, ...volumes, 'retrai')
  const health = () => docker('inspect', '--format', '{{.State.Health.Status}}', name)
  const ask = async (method: string, path: string, body?: object): Promise<unknown> => {
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, init)
    return answer.json()
  }
  const untilReady = () => expect.poll(() => ask('GET', '/health/ready'), SOON).toBeTruthy()
  return { name, health, ask, untilReady }
}

const Created = z.object({ run_id: z.string() })
const Records = z.array(z.object({ payload: z.object({ outcome: z.string().optional() }) }))

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })

test.skipIf(isMissing('the image of the Dockerfile'))(
  'the image runs as an ordinary user, isolates commands, and continues its runs after a kill and a stop',
  { timeout: 300_000 },
  async () => {
    const script = [bash('id -u; touch begun; sleep 60'), bash('touch done'), { text: 'Done.' }]
    const model = await startScriptedModel({ script })
    onTestFinished(() => model.close())
    const { name, health, ask, untilReady } = await startImage(model.url)
    await untilReady()
    await expect.poll(health, HEALTHY).toBe('healthy')
    expect(docker('exec', name, 'id', '-un')).toBe('node')
    expect(docker('exec', name, 'stat', '-c', '%U %a', '/data', '/data-copies', '/workspace')).toBe(
      'node 700\nnode 755\nnode 755',
    )
    expect(await ask('GET', '/health/ready')).toMatchObject({
      checks: { isolation: { ok: true, detail: expect.stringMatching(/^landlock: /) } },
    })
    docker('exec', name, 'mkdir', '/workspace/project')
    const goal = "echo 'check_command: test -f done' >.retrai.yml"
    docker('exec', '--workdir', '/workspace/project', name, 'sh', '-c', goal)
    const wanted = { goal: 'shell-goal', model_name: 'scripted', cwd: '/workspace/project' }
    const { run_id } = Created.parse(await ask('POST', '/api/runs', wanted))
    const hasBegun = () => {
      try {
        return docker('exec', name, 'ls', '/workspace/project')
      } catch {
        return ''
      }
    }
    await expect.poll(hasBegun, SOON).toContain('begun')

    docker('kill', '--signal', 'KILL', name)
    docker('start', name)
    const details = () => ask('GET', `/api/runs/${run_id}`).catch(() => null)
    await expect.poll(details, SOON).toMatchObject({ status: 'achieved' })
    expect(await details()).toMatchObject({ isolation: { level: 'landlock', network: 'none' } })
    const records = Records.parse(await ask('GET', `/api/runs/${run_id}/events`))
    const outcomes = records.flatMap(({ payload }) => payload.outcome ?? [])
    expect(outcomes).toEqual(['unknown', 'ok'])
    // What a command leaves dead is collected by an init.
    expect(docker('exec', name, 'cat', '/proc/1/comm')).toBe('tini')
    const states = () => docker('exec', name, 'ps', '-eo', 'stat=')
    await expect.poll(states, SOON).not.toMatch(/^Z/m)

    docker('stop', '--time', '10', name)
    expect(docker('inspect', '--format', '{{.State.ExitCode}}', name)).toBe('0')
    docker('start', name)
    await expect.poll(details, SOON).toMatchObject({ status: 'achieved' })
  },
)
