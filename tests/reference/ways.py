"""What must not matter: where the images are and how devices share the work. And numbers to
normalize by.
"""

ONE = {'devices': 1}
EIGHT = {'devices': 8}
MAPPED = {'devices': 8, 'parallel': 'pmap'}
HOST = {'devices': 1, 'data.placement': 'host'}
HOST_EIGHT = {'devices': 8, 'data.placement': 'host'}
WAYS = {
  'one device': ONE,
  'eight': EIGHT,
  'mapped': MAPPED,
  'host': HOST,
  'host, eight': HOST_EIGHT,
}

GIVEN = {'mean': (0.5, 0.4, 0.3), 'std': (0.25, 0.2, 0.3)}
CHANNEL = {'normalize': 'channel'}
ZCA = {'normalize': 'zca'}
NORMALIZATIONS = {'given': GIVEN, 'channel': CHANNEL, 'zca': ZCA}
