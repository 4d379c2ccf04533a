/**
 * The loop of a checkout, without a server, as a process of its own.
 * Arguments: the root of that checkout, the folder of its data, the URL of the model, the project.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { answerCalls } from '../support/calls.ts'
import type { InProcess } from './in-process.ts'
import { type Cost, costOf } from './own-share.ts'

/** All of the loop, or only our own code: model and tool answer at once. */
export type Work = 'whole' | 'own'
type Round = { readonly work: Work; readonly atOnce: number; readonly runs: number }
export type SideOperations = { round(round: Round): Promise<Cost> }

const [root = '', folder = '', modelUrl = '', project = ''] = process.argv.slice(2)
const load = (name: string) => import(pathToFileURL(join(root, 'bench/loop', name)).href)
const [{ InProcess: Loop }, { Service }, { instantEffects, realEffects }] = await Promise.all([
  load('in-process.ts'),
  load('service.ts'),
  load('effects.ts'),
])

async function open(work: Work): Promise<InProcess> {
  const data = join(folder, work)
  await mkdir(data, { recursive: true })
  const effects = work === 'own' ? instantEffects : realEffects(modelUrl, data)
  return new Loop(await Service.open(data, effects), project)
}

const loops = { whole: await open('whole'), own: await open('own') }

answerCalls<SideOperations>(
  { round: ({ work, ...options }) => costOf(loops[work], options) },
  async () => {
    await Promise.all(Object.values(loops).map((loop) => loop.close()))
  },
)
