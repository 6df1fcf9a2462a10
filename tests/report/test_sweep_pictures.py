from w2v2_mt.report.sweep_pictures import label_places


def test_labels_of_points_that_are_far_apart_are_right_above_them():
    assert label_places([(0, 0)]) == [(1, 1)]
    assert label_places([(0, 0), (100, 50)])[0] == (1, 1)


def test_a_label_is_where_neither_point_nor_label_is():
    # The second point is where the first one's label would be; a third pins the picture's size.
    points = [(0.5, 0.5), (0.5 + 13 / 320, 0.5 + 7 / 180), (0.0, 0.0), (1.0, 1.0)]
    first, second = label_places(points)[:2]
    assert first != (1, 1)
    # Not back on the first point, either.
    assert second != (-1, -1)


def test_points_of_one_place_have_different_labels():
    places = label_places([(0.2, 0.4)] * 4)
    assert sorted(places) == [(-1, -1), (-1, 1), (1, -1), (1, 1)]
