{
  'variables': { 'asan%': 0 },
  'targets': [
    {
      'target_name': 'sluice',
      'sources': [
        'src/cgroup.cc',
        'src/flock.cc',
        'src/link.cc',
        'src/map.cc',
        'src/map_batch.cc',
        'src/module.cc',
        'src/monitor.cc',
        'src/netlink.cc',
        'src/netns.cc',
        'src/nlsocket.cc',
        'src/object.cc',
        'src/pinned.cc',
        'src/poll.cc',
        'src/program.cc',
        'src/ringbuf.cc',
        'src/rtnl.cc',
        'src/sockdiag.cc',
        'src/status.cc',
        'src/tc.cc',
      ],
      'dependencies': ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
      'defines': ['NAPI_VERSION=8', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'cflags_cc': ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'],
      'libraries': ['-lbpf'],
      'conditions': [
        ['asan==1', {
          'cflags_cc': ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-fno-omit-frame-pointer', '-g1', '-O0'],
          'ldflags': ['-fsanitize=address,undefined'],
        }],
      ],
    },
  ],
}
