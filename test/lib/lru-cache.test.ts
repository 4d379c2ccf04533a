import { expect, test } from 'vitest'
import { LruCache } from '../../src/lib/lru-cache.ts'

test('the least recently used item is removed first', () => {
  const cache = new LruCache<number>(2)
  cache.set('a', 1)
  cache.set('b', 2)
  expect(cache.get('a')).toBe(1)
  cache.set('c', 3)
  expect(cache.get('b')).toBeUndefined()
  expect([cache.get('a'), cache.get('c')]).toEqual([1, 3])
})

test('setting an item again replaces it and takes no more room', () => {
  const cache = new LruCache<number>(2)
  cache.set('a', 1)
  cache.set('b', 2)
  cache.set('a', 3)
  expect([cache.get('a'), cache.get('b')]).toEqual([3, 2])
  cache.clear()
  expect(cache.get('a')).toBeUndefined()
})
