import { writeFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { partialObject } from '../../web/src/run/partial-json.ts'
import { describeInBrowser, untilReceived, useBrowser, useConsoleServer } from './support/page.ts'

const TEXT = 'I look at it all and run the tests.'
const COMMAND = 'echo printed while it runs; while ! test -f go; do sleep 0.05; done'
/** The first piece has no text, and each word is one; then the arguments come in two pieces. */
const HALF_TEXT = 5
const HALF_ARGUMENTS = 1 + TEXT.split(' ').length + 1

/** A model that stops in the middle of its text, and in the middle of its call. */
function haltingModel() {
  const gates = [HALF_TEXT, HALF_ARGUMENTS].map((piece) => ({
    piece,
    ...Promise.withResolvers<void>(),
  }))
  const model: Script = ({ turn }) =>
    turn > 0
      ? { text: 'That is all.' }
      : {
          text: TEXT,
          calls: [{ tool: 'bash_exec', args: { command: COMMAND } }],
          beforePiece: (at) => gates.find(({ piece }) => piece === at)?.promise,
        }
  const [text, call] = gates
  return { model, allowReplies: () => text?.resolve(), letCall: () => call?.resolve() }
}

/** Notes, in each frame that the page draws, where the words of the model are; null if they are not there. */
const NOTE_PLACES = `
  window.places = []
  const look = () => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    let place = null
    while (place === null && walker.nextNode()) {
      const { textContent, parentElement } = walker.currentNode
      if (textContent.includes('I look at it')) place = parentElement.getBoundingClientRect().top
    }
    window.places.push(place)
    requestAnimationFrame(look)
  }
  look()`

const placesIn = (page: Page): Promise<(number | null)[]> => page.evaluate('window.places')

describeInBrowser('what is being written', () => {
  const open = useBrowser()
  const { model, allowReplies, letCall } = haltingModel()
  const server = useConsoleServer(model)

  test('is shown while it comes, and its records replace it without a jump', async () => {
    const runId = await server.start('written', { max_iterations: 1 })
    // High enough that nothing scrolls.
    const viewport = { width: 1280, height: 1600 }
    const page = await open(`${server.url}/runs/${runId}`, { viewport })
    const timeline = page.getByTestId('timeline')
    const written = timeline.locator('[data-partial]')
    await written.getByText('I look at it').waitFor()
    await written.getByText('Being written').waitFor()
    expect(await timeline.textContent()).not.toContain('run the tests')

    allowReplies()
    await written.getByText(TEXT).waitFor()
    await written.getByText('$ echo printed').waitFor()
    expect(await timeline.textContent()).not.toContain('done')

    await page.evaluate(NOTE_PLACES)
    letCall()
    await written.getByText('printed while it runs', { exact: true }).waitFor()
    await timeline.getByText(COMMAND).first().waitFor()
    await expect.poll(() => written.count()).toBe(1)
    const places = await placesIn(page)
    expect(places).not.toContain(null)
    const seen = places.filter((place) => place !== null)
    expect(Math.max(...seen) - Math.min(...seen)).toBeLessThanOrEqual(4)

    await writeFile(server.path('written', 'go'), '')
    await untilReceived(page)
    expect(await written.count()).toBe(0)
    expect(
      await timeline.getByText('printed while it runs', { exact: true }).count(),
    ).toBeGreaterThan(0)
  })
})

test.each([
  ['', {}],
  ['{', {}],
  ['{"comm', {}],
  ['{"command"', {}],
  ['{"command":', {}],
  ['{"command":"npm t', { command: 'npm t' }],
  ['{"command":"a\\', { command: 'a' }],
  ['{"command":"a\\u00', { command: 'a' }],
  ['{"command":"a\\"b', { command: 'a"b' }],
  ['{"a":[1,{"b":"c', { a: [1, { b: 'c' }] }],
  ['{"a":"x, y","b', { a: 'x, y' }],
  ['{"a":tr', {}],
  ['[1', {}],
  ['{"a":1}', { a: 1 }],
])('of the arguments %s, what is known is shown', (text, args) => {
  expect(partialObject(text)).toEqual(args)
})
