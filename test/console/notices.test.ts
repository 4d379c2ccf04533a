import { expect, test } from 'vitest'
import { gatedModel } from './support/gate.ts'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, waiting } = sampleRuns(Date.now() / 1000)

describeInBrowser('notices of the desktop', () => {
  const open = useBrowser()
  const { model, allowReplies } = gatedModel()
  const server = useConsoleServer(model, samples)

  test('are offered below the list, until a person answers, and shown while they look at something else', async () => {
    const page = await open(server.url)
    const question = page.getByRole('region', { name: 'Notices of the desktop' })
    await question.getByText('Show a notice of the desktop when a run waits for you?').waitFor()
    await page.reload()
    await question.getByRole('button', { name: 'Yes' }).press('Enter')
    await question.waitFor({ state: 'detached' })
    expect(await page.evaluate('asked')).toBe(1)
    expect(await page.evaluate('shown')).toEqual([])
    await page.evaluate('document.hasFocus = () => false')
    const runId = await server.start('noticed', { hitl_enabled: true })
    allowReplies(1)
    await expect
      .poll(() => page.evaluate('shown'))
      .toContainEqual(expect.objectContaining({ title: 'A run waits for you', tag: runId }))
  })

  test('are not offered again to a person who wants none, nor beside a decision, nor on a phone', async () => {
    const page = await open(`${server.url}/runs/${waiting}`)
    const question = page.getByRole('region', { name: 'Notices of the desktop' })
    await page.getByTestId('decide').waitFor()
    await expect.poll(() => page.title()).toMatch(/^\([1-9]/)
    expect(await question.count()).toBe(0)
    await page.getByRole('link', { name: 'retrAI, all runs' }).click()
    await question.getByRole('button', { name: 'No' }).click()
    await question.waitFor({ state: 'detached' })
    await page.reload()
    await page.getByText('in ray-tracer').waitFor()
    await expect.poll(() => page.title()).toMatch(/^\([1-9]/)
    expect(await question.count()).toBe(0)
    expect(await page.evaluate('asked')).toBe(0)

    const phone = await open(server.url, { isMobile: true, hasTouch: true })
    await phone.getByText('in ray-tracer').waitFor()
    await expect.poll(() => phone.title()).toMatch(/^\([1-9]/)
    expect(await phone.getByText('Show a notice').isVisible()).toBe(false)
  })

  test('that a browser refuses to make leave the page as it is', async () => {
    const page = await open('about:blank')
    await page.addInitScript(`window.refused = 0
    window.Notification = class {
      static permission = 'granted'
      constructor() {
        window.refused += 1
        throw new TypeError('Illegal constructor')
      }
    }`)
    await page.goto(server.url)
    await page.getByText('in ray-tracer').waitFor()
    await expect.poll(() => page.title()).toMatch(/^\([1-9]/)
    await page.evaluate('document.hasFocus = () => false')
    await server.start('refused', { hitl_enabled: true })
    allowReplies(1)
    await expect.poll(() => page.evaluate('refused')).toBe(1)
    await page.getByText('in refused').waitFor()
  })
})
