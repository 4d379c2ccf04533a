import { expect, test } from 'vitest'
import { EMPTY_DRAFT, goalField, requestOf } from '../../web/src/start/draft.ts'
import { ruleText } from '../../web/src/ui/rule-text.ts'

const sent = (changes: Partial<typeof EMPTY_DRAFT>) => {
  const { hitl_enabled: _, on_limit: __, ...request } = requestOf({ ...EMPTY_DRAFT, ...changes })
  return request
}

test('a goal becomes the first of all_of if there are further ones, and its problems name it there', () => {
  const draft = { ...EMPTY_DRAFT, goal: 'pytest', all_of: '[{"check": {"command": "make docs"}}]' }
  expect(sent(draft)).toEqual({
    all_of: [{ goal: 'pytest' }, { check: { command: 'make docs' } }],
  })
  expect(goalField(draft, 'check')).toBe('all_of.0.check')
  expect(goalField(EMPTY_DRAFT, 'check')).toBe('check')
})

test('a rule is read as a sentence', () => {
  expect(ruleText({ command: 'rm *', action: 'deny', reason: 'Nothing is removed' })).toBe(
    'A call that runs rm * is denied: Nothing is removed',
  )
  expect(
    ruleText({ tool: 'file_*', path: '.github/**', action: 'ask', by: 'other_than_starter' }),
  ).toBe('A call of the tool file_* on .github/** asks a person who did not start the run')
  expect(ruleText({ action: 'ask' })).toBe('Every call asks a person')
})
