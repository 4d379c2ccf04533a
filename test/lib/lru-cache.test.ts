import { expect, test } from 'vitest'
import { Recent } from '../../src/lib/lru-cache.ts'

test('what was not used for longest is let go first', () => {
  const recent = new Recent<number>(2)
  recent.set('a', 1)
  recent.set('b', 2)
  expect(recent.get('a')).toBe(1)
  recent.set('c', 3)
  expect(recent.get('b')).toBeUndefined()
  expect([recent.get('a'), recent.get('c')]).toEqual([1, 3])
})

test('setting again replaces and takes no more room', () => {
  const recent = new Recent<number>(2)
  recent.set('a', 1)
  recent.set('b', 2)
  recent.set('a', 3)
  expect([recent.get('a'), recent.get('b')]).toEqual([3, 2])
  recent.clear()
  expect(recent.get('a')).toBeUndefined()
})
