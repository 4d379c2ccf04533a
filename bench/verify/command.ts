import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startServerProcess } from '../../examples/demo/server.ts'
import { buildProgram } from '../../test/support/build.ts'
import type { Peer } from '../support/calls.ts'
import { integer, median, table } from '../support/figures.ts'
import { atLeast } from '../support/verdicts.ts'
import type { BeforeOperations } from './before-process.ts'

const RECORDS = 100_000
const ROUNDS = 5

/** A version of retrAI, and the export of the run that it made. */
type Version = { readonly program: string; readonly archive: string }

/**
 * `retrai verify` of an export, from the start of the process to its end, beside v0.1.
 * @param peer a process with the code of v0.1, from `sources`
 * @param asked how many times as many records a second
 */
export async function verifyCommand(
  peer: Peer<BeforeOperations>,
  sources: string,
  { folder, ref, asked }: { readonly folder: string; readonly ref: string; readonly asked: number },
): Promise<string> {
  const data = join(folder, 'data')
  await mkdir(data)
  const runId = await peer.ask('fill', { file: join(data, 'log.sqlite'), count: RECORDS })
  const versions: Record<'before' | 'now', Version> = {
    // The earlier server first: the later one may write what that one cannot read.
    before: await exported(join(sources, 'src/cli/retrai.ts'), data, runId, join(folder, 'first')),
    now: await exported(await buildProgram(), data, runId, join(folder, 'second')),
  }
  const rounds: { readonly before: number; readonly now: number }[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    rounds.push({ before: await timed(versions.before), now: await timed(versions.now) })
  }
  const middle = (version: 'before' | 'now') => median(rounds.map((each) => each[version]))
  const times = median(rounds.map((each) => each.before / each.now))
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
  return [
    table(
      ['`retrai verify FILE`', ref, 'now', 'records/s', 'times as many asked', 'measured'],
      [
        [
          ...[`${integer(RECORDS)} records`, seconds(middle('before')), seconds(middle('now'))],
          ...[integer((1000 * RECORDS) / middle('now')), ...atLeast(times, asked)],
        ],
      ],
    ),
    '',
    `${ROUNDS} rounds, from the start of the process to its end, with the export of the same log that a server of its version has made.`,
    `${ref} runs from its sources, as it was shipped.`,
  ].join('\n')
}

async function exported(
  program: string,
  data: string,
  runId: string,
  name: string,
): Promise<Version> {
  const env = { PATH: process.env.PATH, RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
  const server = await startServerProcess(['--port', '0', '--data-dir', data], env, program)
  const archive = `${name}.tar.gz`
  try {
    const response = await fetch(new URL(`/api/runs/${runId}/export`, server.url))
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
    await writeFile(archive, await response.bytes())
  } finally {
    await server.stop()
  }
  return { program, archive }
}

/** @returns milliseconds */
async function timed({ program, archive }: Version): Promise<number> {
  const began = performance.now()
  await promisify(execFile)(process.execPath, [program, 'verify', archive])
  return performance.now() - began
}
