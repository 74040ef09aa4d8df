/* What a page does: players of one recording share their position, and the spectrograms show and choose it. */
'use strict';
(function () {
  var scenes = Array.prototype.map.call(document.querySelectorAll('.scene'), makeScene), active = scenes[0];

  function makeScene(box) {
    var scene = {box: box, audios: all(box, 'audio'), picks: all(box, '.pick'), same: !!box.querySelector('.same'),
      sheet: box.querySelector('.sheet'), start: +box.dataset.start || 0, seconds: +box.dataset.seconds || 0,
      now: 0, loop: null, looping: false, zoom: 1};
    scene.audios.forEach(function (audio, number) {
      audio.addEventListener('play', function () { started(scene, number); });
      audio.addEventListener('pause', function () { show(scene); });
      audio.addEventListener('timeupdate', function () { if (number === scene.now) show(scene); });
      audio.addEventListener('seeking', function () { moved(scene, number); });
      audio.addEventListener('volumechange', function () {
        scene.audios.forEach(function (other) {
          if (other.volume !== audio.volume) other.volume = audio.volume;
          if (other.muted !== audio.muted) other.muted = audio.muted;
        });
      });
    });
    scene.picks.forEach(function (button, number) {
      button.addEventListener('click', function () { active = scene; choose(scene, number); });
    });
    on(box, '.play', function () { toggle(scene); });
    on(box, '.loop', function () { setLoop(scene, scene.looping ? null : nearest(scene)); });
    on(box, '.closer', function () { zoom(scene, scene.zoom * 2); });
    on(box, '.farther', function () { zoom(scene, scene.zoom / 2); });
    if (scene.sheet) {
      scene.sheet.addEventListener('click', function (event) {
        var frame = scene.sheet.getBoundingClientRect();
        active = scene;
        seek(scene, (event.clientX - frame.left) / frame.width * scene.seconds);
      });
      scene.sheet.addEventListener('keydown', function (event) {
        var step = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10,
          Home: -1e9, End: 1e9}[event.key];
        if (!step) return;
        event.preventDefault();
        active = scene;
        seek(scene, at(scene) + step);
      });
    }
    return scene;
  }

  function all(box, what) { return Array.prototype.slice.call(box.querySelectorAll(what)); }
  function on(box, what, act) {
    var button = box.querySelector(what);
    if (button) button.addEventListener('click', act);
  }
  function at(scene) { return scene.audios[scene.now].currentTime; }
  function playing(scene) { return !scene.audios[scene.now].paused; }
  function seek(scene, second) {
    scene.audios[scene.now].currentTime = Math.min(Math.max(0, second), Math.max(0, scene.seconds - 0.001));
    show(scene);
  }
  function play(audio) {
    var promise = audio.play();
    if (promise) promise.catch(function () {});
  }
  function toggle(scene) {
    active = scene;
    if (playing(scene)) scene.audios[scene.now].pause(); else play(scene.audios[scene.now]);
  }

  // The version that is heard changes, the moment does not.
  function choose(scene, number) {
    var from = scene.audios[scene.now], to = scene.audios[number], sounding = !from.paused || !scene.same;
    if (!to) return;
    if (to !== from) {
      scene.now = number;
      if (scene.same) to.currentTime = from.currentTime;
      from.pause();
    }
    if (sounding) play(to);
    show(scene);
  }
  function started(scene, number) {
    var audio = scene.audios[number], before = scene.audios[scene.now];
    active = scene;
    if (number !== scene.now) {
      scene.now = number;
      if (scene.same) audio.currentTime = before.currentTime;
    }
    scenes.forEach(function (other) {
      other.audios.forEach(function (one) { if (one !== audio) one.pause(); });
    });
    follow(scene);
  }
  // Somebody drags the slider of a version that is not the one in use: its moment is the moment of all.
  function moved(scene, number) {
    var audio = scene.audios[number];
    if (scene.same && number !== scene.now && Math.abs(audio.currentTime - at(scene)) > 0.05) {
      scene.audios[scene.now].currentTime = audio.currentTime;
    }
    show(scene);
  }
  function follow(scene) {
    show(scene);
    if (playing(scene)) requestAnimationFrame(function () { follow(scene); });
  }
  function show(scene) {
    var second = at(scene), sounding = playing(scene), button = scene.box.querySelector('.play');
    if (scene.looping && sounding && (second >= scene.loop[1] || second < scene.loop[0] - 0.05)) {
      scene.audios[scene.now].currentTime = second = scene.loop[0];
    }
    if (scene.same && !sounding) scene.audios.forEach(function (audio) {
      if (Math.abs(audio.currentTime - second) > 0.01 && audio.readyState) audio.currentTime = second;
    });
    scene.picks.forEach(function (pick, number) { pick.setAttribute('aria-pressed', number === scene.now); });
    scene.audios.forEach(function (audio, number) {
      if (scene.same) audio.parentElement.classList.toggle('now', number === scene.now);
    });
    if (!scene.sheet) return;
    scene.box.querySelector('.cursor').style.left = 100 * second / scene.seconds + '%';
    scene.box.querySelector('.clock').textContent = clock(scene.start + second, 2) + ' of ' +
      clock(scene.start + scene.seconds, 2);
    scene.sheet.setAttribute('aria-valuenow', second.toFixed(2));
    scene.sheet.setAttribute('aria-valuetext', clock(scene.start + second, 1));
    button.textContent = sounding ? 'Pause' : 'Play';
    if (sounding) keepInView(scene, second);
  }
  function keepInView(scene, second) {
    var roll = scene.sheet.parentElement, x = second / scene.seconds * scene.sheet.offsetWidth;
    if (scene.zoom > 1 && (x < roll.scrollLeft || x > roll.scrollLeft + roll.clientWidth)) {
      roll.scrollLeft = x - 0.1 * roll.clientWidth;
    }
  }

  // A loop goes from a second before a repair to a second after it.
  function nearest(scene) {
    var second = at(scene), best = null, least = 1e9;
    all(document, '[data-repair]').forEach(function (button) {
      var data = button.dataset, distance;
      if (scenes[+data.scene] !== scene) return;
      distance = Math.max(+data.start - second, second - data.end, 0);
      if (distance < least) { least = distance; best = [+data.start - 1, +data.end + 1]; }
    });
    return best || [second - 1.5, second + 1.5];
  }
  function setLoop(scene, span) {
    var shown = scene.box.querySelector('.looped');
    scene.looping = !!span;
    scene.box.querySelector('.loop').setAttribute('aria-pressed', scene.looping);
    shown.hidden = !span;
    if (!span) return;
    scene.loop = [Math.max(0, span[0]), Math.min(scene.seconds - 0.01, span[1])];
    shown.style.left = 100 * scene.loop[0] / scene.seconds + '%';
    shown.style.width = 100 * (scene.loop[1] - scene.loop[0]) / scene.seconds + '%';
    if (at(scene) < scene.loop[0] || at(scene) > scene.loop[1]) seek(scene, scene.loop[0]);
  }
  all(document, '[data-repair]').forEach(function (button) {
    button.addEventListener('click', function () {
      var scene = scenes[+button.dataset.scene], span = [+button.dataset.start - 1, +button.dataset.end + 1];
      active = scene;
      if (button.dataset.repair === 'loop') {
        setLoop(scene, span);
        seek(scene, span[0]);
        play(scene.audios[scene.now]);
      } else {
        if (scene.looping) setLoop(scene, null);
        seek(scene, span[0]);
      }
      center(scene, (span[0] + span[1]) / 2);
      scene.box.scrollIntoView({block: 'nearest'});
    });
  });

  function zoom(scene, times) {
    var width = scene.sheet.parentElement.clientWidth;
    scene.zoom = Math.min(Math.max(1, times), Math.max(1, Math.pow(2, Math.floor(Math.log2(30000 / width)))), 32);
    scene.sheet.style.width = 100 * scene.zoom + '%';
    ticks(scene);
    center(scene, at(scene));
  }
  function center(scene, second) {
    var roll = scene.sheet.parentElement;
    roll.scrollLeft = second / scene.seconds * scene.sheet.offsetWidth - roll.clientWidth / 2;
  }
  function ticks(scene) {
    var line = scene.box.querySelector('.times'), wanted = scene.seconds / (scene.sheet.offsetWidth / 90), step = 0.01,
      factors = [2, 2.5, 2, 2, 2.5, 2, 2, 2.5, 2, 3], number = 0, second;
    while (step < wanted && number < factors.length) step *= factors[number++];
    while (step < wanted) step *= 2;
    line.textContent = '';
    for (number = Math.ceil(scene.start / step); (second = number * step - scene.start) <= scene.seconds; number++) {
      var mark = document.createElement('span'), share = second / scene.seconds;
      mark.textContent = clock(second + scene.start, step >= 1 ? 0 : step >= 0.1 ? 1 : 2);
      mark.style.left = 100 * share + '%';
      mark.className = share < 0.02 ? 'first' : share > 0.98 ? 'last' : '';
      line.appendChild(mark);
    }
  }
  function clock(second, places) {
    var units = Math.pow(10, places), whole = Math.round(second * units), hours, minutes, rest;
    rest = (whole % (60 * units) / units).toFixed(places);
    minutes = Math.floor(whole / (60 * units)) % 60;
    hours = Math.floor(whole / (3600 * units));
    if (+rest < 10) rest = '0' + rest;
    return hours ? hours + ':' + (minutes < 10 ? '0' : '') + minutes + ':' + rest : minutes + ':' + rest;
  }

  document.addEventListener('keydown', function (event) {
    var tag = event.target.tagName, number = '123456789'.indexOf(event.key);
    if (!active || event.ctrlKey || event.altKey || event.metaKey || tag === 'INPUT' || tag === 'TEXTAREA') return;
    if (number >= 0 && number < active.audios.length) choose(active, number);
    else if (event.key === ' ' && tag !== 'BUTTON' && tag !== 'AUDIO' && tag !== 'A') {
      event.preventDefault();
      toggle(active);
    } else if ((event.key === 'l' || event.key === 'L') && active.sheet) {
      setLoop(active, active.looping ? null : nearest(active));
    }
  });
  // After a click the space bar plays; who goes from button to button with the keyboard presses them with it.
  document.addEventListener('click', function (event) {
    var button = event.target.closest && event.target.closest('button');
    if (button && event.detail > 0) button.blur();
  });
  window.addEventListener('resize', function () {
    scenes.forEach(function (scene) { if (scene.sheet) ticks(scene); });
  });
  scenes.forEach(function (scene) {
    if (!scene.audios.length) return;
    if (scene.sheet) ticks(scene);
    show(scene);
  });
})();
