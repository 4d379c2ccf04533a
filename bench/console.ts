import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { startServerProcess } from '../examples/demo/server.ts'
import { launchBrowser } from '../test/console/support/browser.ts'
import { buildConsole, buildProgram } from '../test/support/build.ts'
import { fill } from './history/fill.ts'
import { integer, median, percentile, table } from './support/figures.ts'
import { inTemporaryFolder } from './support/temporary-folder.ts'

const RECORDS = 50_000
const ROUNDS = 5
/** Frames of a round, and how far each scrolls. */
const FRAMES = 240
const STEP_PX = 160
/** Of a screen that draws 60 frames in a second. */
const ASKED_FPS = 60

/** Scrolls an element in each frame that the page draws. @returns the times between the frames, milliseconds */
const scrolling = (element: string): string => `new Promise((resolve) => {
  const scrolled = ${element}
  const times = []
  let last = null
  const look = (now) => {
    if (last !== null) times.push(now - last)
    last = now
    scrolled.scrollTop += ${STEP_PX}
    if (times.length < ${FRAMES}) requestAnimationFrame(look)
    else resolve(times)
  }
  requestAnimationFrame(look)
})`

const TIMELINE = `document.querySelector('[data-testid="timeline"]')`
const BARE = `<div style="height:700px;overflow:auto" id="all">${'<p>A line of text</p>'.repeat(2000)}</div>`

/** The timeline of a long run, scrolled by hand in a real browser, beside a page that has nothing but lines. */
export function run(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    const dataDir = join(folder, 'data')
    await mkdir(dataDir)
    const runId = await fill(join(dataDir, 'log.sqlite'), RECORDS)
    await buildConsole()
    const args = ['--port', '0', '--data-dir', dataDir]
    const server = await startServerProcess(args, { PATH: process.env.PATH }, await buildProgram())
    const browser = await launchBrowser()
    try {
      const page = await browser.newPage()
      const bare = await browser.newPage()
      await bare.setContent(BARE)
      const began = performance.now()
      await page.goto(`${server.url}/runs/${runId}`)
      await page
        .getByTestId('moment')
        .getByText(integer(RECORDS - 1))
        .first()
        .waitFor()
      const shown = (performance.now() - began) / 1000
      const ours: number[][] = []
      const limit: number[][] = []
      for (let round = 0; round < ROUNDS; round += 1) {
        ours.push(await frames(page, TIMELINE))
        limit.push(await frames(bare, `document.getElementById('all')`))
      }
      return [
        `### The console with a run of ${integer(RECORDS)} records`,
        '',
        table(
          ['scrolled', 'frames/s asked', 'measured', '95 % of the frames within'],
          [row('the timeline', ours, `≥ ${ASKED_FPS}`), row('bare lines', limit, '–')],
        ),
        '',
        `${ROUNDS} rounds of ${FRAMES} frames in headless Chromium, which draws at most ${ASKED_FPS} in a second, without a GPU. Each frame scrolls`,
        `${STEP_PX} pixels on. All records were there ${shown.toFixed(1)} s after the page was asked for.`,
      ].join('\n')
    } finally {
      await browser.close()
      server.process.kill('SIGKILL')
      await once(server.process, 'exit')
    }
  })
}

async function frames(page: Page, element: string): Promise<number[]> {
  await page.bringToFront()
  await page.evaluate(`${element}.scrollTop = 0`)
  const times = await page.evaluate<number[]>(scrolling(element))
  const place = await page.evaluate<number>(`${element}.scrollTop`)
  if (place < (STEP_PX * FRAMES) / 2) throw new Error(`it scrolled ${place} pixels only`)
  return times
}

function row(name: string, rounds: readonly (readonly number[])[], asked: string): string[] {
  const fps = median(
    rounds.map((times) => (1000 * times.length) / times.reduce((a, b) => a + b, 0)),
  )
  const isMet = asked === '–' || fps >= ASKED_FPS - 0.5
  const measured = fps.toFixed(1)
  const slow = median(rounds.map((times) => percentile(times, 0.95)))
  return [name, asked, isMet ? measured : `**${measured}**`, `${slow.toFixed(1)} ms`]
}

if (import.meta.main) console.log(await run())
