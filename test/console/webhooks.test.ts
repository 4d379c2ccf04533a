import { expect, test } from 'vitest'
import { startReceiver } from '../webhooks/receiver.ts'
import { faults } from './support/faults.ts'
import { gatedModel } from './support/gate.ts'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, waiting } = sampleRuns(Date.now() / 1000)

describeInBrowser('the page of webhooks', () => {
  const open = useBrowser()
  const server = useConsoleServer(gatedModel().model, samples, {
    RETRAI_WEBHOOK_HOSTS: '127.0.0.1',
  })

  test('makes one, shows its secret once, and shows how far it is and why', async () => {
    const receiver = await startReceiver(() => 410)
    const page = await open(server.url)
    await page.getByRole('link', { name: 'Webhooks' }).click()
    await page.getByText('A webhook sends word').waitFor()
    await page.getByRole('button', { name: 'Add a webhook' }).click()
    await page.getByLabel('Address').fill('http://10.0.0.1/')
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByRole('alert').getByText('RETRAI_WEBHOOK_HOSTS').waitFor()
    await page.getByLabel('Address').fill(receiver.url)
    await page.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText(/^whsec_/).waitFor()
    expect(await faults(page)).toEqual([])
    await page.getByRole('button', { name: 'I have it' }).click()
    const hook = page.getByRole('region', { name: receiver.url })
    await hook.getByText('0 delivered, 0 pending').waitFor()
    expect(await page.content()).not.toContain('whsec_')
    const runId = await server.start('aborted')
    ;(await server.client().runs.abort(runId))._unsafeUnwrap()
    await hook.getByText('It answered 410: it wants no more.').waitFor()
    await hook.getByText('Stopped', { exact: true }).waitFor()
    expect(await faults(page)).toEqual([])
    receiver.answer = () => 200
    await hook.getByRole('button', { name: 'Send a test' }).click()
    await page.getByText('The test was received').waitFor()
    await hook.getByRole('button', { name: 'Resume' }).click()
    await hook.getByText('1 delivered, 0 pending').waitFor()
    await hook.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.getByText('A webhook sends word').waitFor()
  })

  test('every title counts the decisions that are due', async () => {
    const page = await open('about:blank')
    for (const path of ['/', `/runs/${waiting}`, '/webhooks', '/nowhere']) {
      await page.goto(server.url + path)
      await expect.poll(() => page.title()).toMatch(/^\([1-9]\d*\) .*retrAI$/)
    }
  })
})
